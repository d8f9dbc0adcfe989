"""What diffusers' ModelMixin and ConfigMixin add to the nets: the base of the public classes."""

from diffusers.configuration_utils import ConfigMixin
from diffusers.models.modeling_utils import ModelMixin

from .weights import StoredWeights


class DiffusersModel(StoredWeights, ModelMixin, ConfigMixin):
    """Base, placed before a net, of its public class; the configuration is diffusers'."""

    stored_name = None  # that of the class, also of one derived from a public one
    config = ConfigMixin.config
    register_to_config = ConfigMixin.register_to_config
    from_config = classmethod(ConfigMixin.from_config.__func__)

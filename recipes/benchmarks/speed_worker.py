"""Times what it is asked for on standard input; run by `speed.py` as text, with any commit's audiocm on the path.

Arguments: torch, onnx or openvino; threads; the text-to-audio and the text-to-speech model. A line of JSON with `kind` (sound,
speech, first or memory) and its settings is answered by one with wall and CPU seconds, after the model is loaded."""

import json
import resource
import sys
import time

backend, threads, sounds_model, speech_model = sys.argv[1], int(sys.argv[2]), *sys.argv[3:5]
answers, sys.stdout = sys.stdout, sys.stderr  # whatever else is printed is not mistaken for an answer
loaded = {}


def load(name, is_speech):
    """Returns a model, loaded once."""
    if name not in loaded:
        if backend == "torch":
            import torch

            import audiocm

            torch.set_num_threads(threads)
            kind = audiocm.TextToSpeechPipeline if is_speech else audiocm.TextToAudioPipeline
            loaded[name] = kind.from_pretrained(name)
        else:
            from audiocm.runtime import OnnxTextToAudio, OnnxTextToSpeech

            load_graphs = OnnxTextToSpeech.from_pretrained if is_speech else OnnxTextToAudio.from_pretrained
            loaded[name] = load_graphs(name, threads)
            loaded[name].load()
    return loaded[name]


def seeded(task):
    """Returns the keywords of the seed, and of the number of steps, if that is not one."""
    if backend != "torch":
        return {"seed": 0}
    import torch

    return {"generator": torch.Generator().manual_seed(0), "num_inference_steps": task.get("steps", 1)}


def prepare(task):
    """Returns a function of nothing that does a task, and returns the seconds of sound that it has made."""
    is_speech = task["kind"] != "sound"
    model = load(task.get("model") or (speech_model if is_speech else sounds_model), is_speech)
    options = seeded(task)
    if task.get("euler"):
        try:
            from audiocm.diffusion.solvers import euler
        except ImportError:
            from audiocm.solvers import euler
        options["solver"] = euler
    if task["kind"] == "first":
        return lambda: len(next(iter(model.stream(task["text"], **options))).audio) / model.sample_rate
    if is_speech:
        return lambda: len(model(task["text"], **options).audios[0]) / model.sample_rate

    def sound():
        made = model(task["prompt"], task["seconds"], num_waveforms_per_prompt=task.get("batch", 1), **options)
        return len(made.audios) * task["seconds"]

    return sound


for line in sys.stdin:
    task = json.loads(line)
    if task["kind"] == "memory":
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answer = {"rss": peak, "imports_torch": "torch" in sys.modules}
    else:
        action = prepare(task)
        wall, cpu = time.perf_counter(), time.process_time()
        made = action()
        answer = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "sound": made}
    print(json.dumps(answer), file=answers, flush=True)

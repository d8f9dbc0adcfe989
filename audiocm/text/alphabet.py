"""The phoneme alphabet of the speech models: that of misaki for American English, with punctuation."""

SILENCE = "_"  # stands before and after every line
PAUSES = ' ;:,.!?—…"()“”'
VOWELS = "AIOWYaiuæɐɑɔəɛɜɪʊʌᵊᵻ"  # A I O W Y: the diphthongs of day, my, go, now, boy; ɐ: the word "a"
CONSONANTS = "bdfhjklmnpstvwzðŋɡɹɾʃʒʔʤʧθT"  # T: the flap of "forty"
SYMBOLS = SILENCE + PAUSES + VOWELS + CONSONANTS
STRESS = {"ˌ": 1, "ˈ": 2}  # written before the vowel that carries it

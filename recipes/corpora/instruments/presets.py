"""The General MIDI instruments in everyday words: names for captions, accepted tagger labels, comfortable range.

One line per preset: `bank program | name | other names | accepted AudioSet class names | low high | flags`.
Flags: c = can play chords, b = bass (no trills or fast melodies high up), p = untuned percussion, x = sound effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

PIANO = "Piano; Keyboard (musical); Musical instrument"
EPIANO = "Electric piano; Keyboard (musical); Piano; Synthesizer"
MALLET = "Mallet percussion; Glockenspiel; Vibraphone; Marimba, xylophone"
BELLS = "Glockenspiel; Mallet percussion; Bell; Chime; Vibraphone"
ORGAN = "Organ; Electronic organ; Hammond organ; Keyboard (musical)"
REED = "Accordion; Harmonica; Musical instrument"
GUITAR = "Guitar; Acoustic guitar; Plucked string instrument"
EGUITAR = "Electric guitar; Guitar; Plucked string instrument"
BASS = "Bass guitar; Guitar; Plucked string instrument; Double bass"
SYNTH = "Synthesizer; Electronic music; Keyboard (musical); Musical instrument; Ambient music"
BOWED = "Bowed string instrument; Violin, fiddle; Cello; String section"
STRINGS = "String section; Bowed string instrument; Orchestra; Violin, fiddle; Cello"
VOICE = "Choir; Singing; Vocal music; A capella; Chant"
BRASS = "Brass instrument; Trumpet; Trombone; French horn; Wind instrument, woodwind instrument"
SAX = "Saxophone; Wind instrument, woodwind instrument; Clarinet; Brass instrument"
WIND = "Wind instrument, woodwind instrument; Clarinet; Flute; Musical instrument"
FLUTE = "Flute; Wind instrument, woodwind instrument; Whistle; Musical instrument"
PLUCK = "Plucked string instrument; Musical instrument; Zither; Banjo; Sitar"
DRUM = "Drum; Percussion; Drum kit; Bass drum; Timpani"

TABLE = f"""
0 0 | grand piano | piano | {PIANO} | 36 96 | c
0 1 | bright piano | piano | {PIANO} | 36 96 | c
0 2 | electric piano | electric grand piano | {EPIANO} | 40 88 | c
0 3 | honky-tonk piano | saloon piano; out-of-tune piano | {PIANO} | 40 88 | c
0 4 | Rhodes piano | electric piano | {EPIANO} | 40 88 | c
0 5 | FM electric piano | electric piano | {EPIANO} | 40 88 | c
0 6 | harpsichord | baroque harpsichord | Harpsichord; Keyboard (musical); Plucked string instrument | 40 84 | c
0 7 | clavinet | clavichord | {EPIANO}; Harpsichord; Guitar | 40 84 | c
0 8 | celesta | celeste | {BELLS} | 60 96 | c
0 9 | glockenspiel | orchestra bells | {BELLS} | 67 100 | c
0 10 | music box | wind-up music box | {BELLS}; Jingle, tinkle | 60 96 | c
0 11 | vibraphone | vibes | {MALLET} | 53 89 | c
0 12 | marimba | wooden marimba | {MALLET} | 45 88 | c
0 13 | xylophone | wooden xylophone | {MALLET}; Wood block | 60 100 | c
0 14 | tubular bells | orchestral chimes | Tubular bells; Bell; Church bell; Chime | 58 79 | c
0 15 | hammered dulcimer | dulcimer | Zither; Plucked string instrument; Musical instrument; Harp | 48 84 | c
0 16 | Hammond organ | drawbar organ; electric organ | {ORGAN} | 40 88 | c
0 17 | percussive organ | electric organ | {ORGAN} | 40 88 | c
0 18 | rock organ | electric organ | {ORGAN} | 40 88 | c
0 19 | church organ | pipe organ | {ORGAN}; Christian music | 36 88 | c
0 20 | reed organ | harmonium | {ORGAN}; Accordion; Harmonica | 40 84 | c
0 21 | accordion | squeezebox | {REED} | 53 89 | c
0 22 | harmonica | mouth organ | Harmonica; Accordion; Musical instrument | 60 88 |
0 23 | bandoneon | tango accordion | {REED} | 48 86 | c
0 24 | classical guitar | acoustic guitar; nylon string guitar | {GUITAR} | 40 79 | c
0 25 | acoustic guitar | steel string guitar | {GUITAR} | 40 79 | c
0 26 | jazz guitar | electric guitar | {EGUITAR}; Acoustic guitar | 40 79 | c
0 27 | clean electric guitar | electric guitar | {EGUITAR}; Acoustic guitar | 40 79 | c
0 28 | muted electric guitar | palm-muted guitar | {EGUITAR} | 40 72 | c
0 29 | overdriven electric guitar | electric guitar; rock guitar | {EGUITAR}; Distortion; Rock music | 40 79 | c
0 30 | distorted electric guitar | heavy metal guitar | {EGUITAR}; Distortion; Heavy metal; Rock music | 40 76 | c
0 31 | guitar harmonics | ringing guitar notes | {EGUITAR}; Harmonic | 45 79 |
0 32 | double bass | plucked upright bass; acoustic bass | Double bass; {BASS} | 28 55 | b
0 33 | bass guitar | electric bass | {BASS} | 28 55 | b
0 34 | picked bass guitar | bass guitar | {BASS} | 28 55 | b
0 35 | fretless bass | bass guitar | {BASS} | 28 55 | b
0 36 | slap bass | bass guitar; funk bass | {BASS} | 28 55 | b
0 37 | popping slap bass | bass guitar; funk bass | {BASS} | 28 55 | b
0 38 | synth bass | synthesizer bass | {BASS}; {SYNTH} | 28 55 | b
0 39 | deep synth bass | synthesizer bass | {BASS}; {SYNTH} | 28 55 | b
0 40 | violin | fiddle | Violin, fiddle; {BOWED} | 55 93 |
0 41 | viola | large violin | Violin, fiddle; {BOWED} | 48 84 |
0 42 | cello | violoncello | Cello; Double bass; {BOWED} | 36 72 |
0 43 | bowed double bass | contrabass; upright bass | Double bass; Cello; {BOWED} | 28 55 | b
0 44 | tremolo strings | trembling strings; string section | {STRINGS} | 40 88 | c
0 45 | plucked strings | pizzicato strings | Pizzicato; {STRINGS}; Plucked string instrument | 40 84 | c
0 46 | harp | concert harp | Harp; Plucked string instrument; Musical instrument | 36 96 | c
0 47 | timpani | kettledrum | Timpani; Drum; Percussion | 36 55 | b
0 48 | string orchestra | string section; violins | {STRINGS} | 40 88 | c
0 49 | slow string orchestra | string section | {STRINGS} | 40 88 | c
0 50 | synthesizer string pad | synth strings | {STRINGS}; {SYNTH} | 40 84 | c
0 51 | warm synthesizer string pad | synth strings | {STRINGS}; {SYNTH} | 40 84 | c
0 52 | choir | a choir singing ah; people singing | {VOICE} | 48 79 | c
0 53 | humming choir | a choir singing ooh; voices humming | {VOICE}; Humming | 48 79 | c
0 54 | synthetic voice | synthesizer choir | {VOICE}; Synthesizer; Synthetic singing | 48 79 | c
0 55 | orchestra hit | orchestral stab | Orchestra; Brass instrument; Music; Sound effect; String section | 48 72 |
0 56 | trumpet | brass trumpet | Trumpet; {BRASS} | 55 84 |
0 57 | trombone | brass trombone | Trombone; {BRASS} | 40 70 |
0 58 | tuba | brass tuba | {BRASS} | 28 58 | b
0 59 | muted trumpet | jazz trumpet; trumpet with a mute | {BRASS}; Jazz | 55 82 |
0 60 | French horn | horn | {BRASS} | 41 74 |
0 61 | brass section | brass band; trumpets and trombones | {BRASS}; Orchestra | 43 79 | c
0 62 | synth brass | synthesizer | {SYNTH}; {BRASS} | 43 79 | c
0 63 | mellow synth brass | synthesizer | {SYNTH}; {BRASS} | 43 79 | c
0 64 | soprano saxophone | saxophone; sax | {SAX} | 56 84 |
0 65 | alto saxophone | saxophone; sax | {SAX} | 49 80 |
0 66 | tenor saxophone | saxophone; sax | {SAX} | 44 75 |
0 67 | baritone saxophone | saxophone; low sax | {SAX} | 36 68 |
0 68 | oboe | woodwind | {WIND} | 58 88 |
0 69 | English horn | cor anglais | {WIND} | 52 80 |
0 70 | bassoon | low woodwind | {WIND}; Saxophone | 34 70 |
0 71 | clarinet | woodwind | Clarinet; {WIND} | 50 88 |
0 72 | piccolo | small flute | {FLUTE} | 74 103 |
0 73 | flute | concert flute | {FLUTE} | 60 94 |
0 74 | recorder | wooden recorder | {FLUTE} | 60 91 |
0 75 | pan flute | panpipes | {FLUTE} | 60 91 |
0 76 | blown bottle | someone blowing over a bottle | {FLUTE} | 55 84 |
0 77 | shakuhachi | Japanese bamboo flute | {FLUTE} | 55 84 |
0 78 | whistle | someone whistling a tune | Whistling; Whistle; {FLUTE} | 67 93 |
0 79 | ocarina | clay flute | {FLUTE}; Whistling | 60 88 |
0 80 | square wave synthesizer | video game synth; chiptune | {SYNTH}; Video game music | 48 88 |
0 81 | sawtooth synthesizer | buzzing synth | {SYNTH} | 48 88 |
0 82 | calliope | steam organ | {SYNTH}; Organ; {FLUTE} | 53 88 | c
0 83 | breathy synthesizer | synth | {SYNTH}; Flute | 53 88 |
0 84 | charang synthesizer | distorted synth | {SYNTH}; Electric guitar | 48 84 |
0 85 | solo synth voice | synth voice | {SYNTH}; {VOICE} | 48 79 |
0 86 | synthesizer in fifths | synth | {SYNTH} | 48 84 |
0 87 | bass and lead synthesizer | synth | {SYNTH} | 40 76 |
0 88 | fantasy synthesizer | shimmering synth | {SYNTH} | 48 84 | c
0 89 | warm synthesizer pad | ambient pad | {SYNTH} | 48 84 | c
0 90 | polyphonic synthesizer | synth | {SYNTH} | 48 84 | c
0 91 | space choir synthesizer | ambient voices | {SYNTH}; {VOICE} | 48 84 | c
0 92 | bowed glass | glass harmonica; singing wine glass | Singing bowl; {SYNTH} | 55 88 | c
0 93 | metallic synthesizer pad | metallic synth | {SYNTH} | 48 84 | c
0 94 | halo synthesizer pad | angelic synth pad | {SYNTH}; {VOICE} | 48 84 | c
0 95 | sweeping synthesizer pad | synth sweep | {SYNTH} | 48 84 | c
0 96 | icy synthesizer | glittering synth | {SYNTH}; Chime | 53 88 | c
0 97 | soundtrack synthesizer | film music synth | {SYNTH}; Soundtrack music | 43 79 | c
0 98 | crystal synthesizer | glassy bells | {SYNTH}; {BELLS} | 55 91 | c
0 99 | atmospheric synthesizer | synth guitar | {SYNTH}; Guitar | 48 84 | c
0 100 | bright synthesizer | synth | {SYNTH} | 48 84 | c
0 101 | goblin synthesizer | eerie synth; spooky synth | {SYNTH}; Scary music | 48 79 | c
0 102 | echoing synthesizer | synth with echoes | {SYNTH}; Echo | 48 84 | c
0 103 | science fiction synthesizer | spacey synth | {SYNTH} | 48 84 | c
0 104 | sitar | Indian sitar | Sitar; {PLUCK} | 43 79 |
0 105 | banjo | bluegrass banjo | Banjo; {PLUCK}; Bluegrass; Country | 48 84 | c
0 106 | shamisen | Japanese lute | {PLUCK}; Music of Asia | 48 82 |
0 107 | koto | Japanese zither | {PLUCK}; Music of Asia; Harp | 43 84 | c
0 108 | kalimba | thumb piano | {MALLET}; Plucked string instrument; Steelpan | 53 84 | c
0 109 | bagpipes | Scottish bagpipes | Bagpipes; Wind instrument, woodwind instrument; Accordion | 55 79 |
0 110 | fiddle | folk violin | Violin, fiddle; {BOWED}; Folk music | 55 91 |
0 111 | shehnai | Indian oboe | {WIND}; Music of Asia; Bagpipes | 55 82 |
0 112 | tinkling bell | little bell; jingling bells | Jingle bell; Bell; Jingle, tinkle; {BELLS} | 60 91 |
0 113 | agogo bell | cowbell | Cowbell; Bell; Percussion; Clang; Ding | 55 79 | p
0 114 | steel drum | steelpan | Steelpan; {MALLET} | 52 84 | c
0 115 | wood block | woodblock | Wood block; Percussion; Wood; Tap; Knock | 55 84 | p
0 116 | taiko drum | big Japanese drum | {DRUM}; Boom | 40 60 | p
0 117 | tom-tom drum | tom drum | {DRUM} | 40 64 | p
0 118 | electronic drum | synth drum | {DRUM}; Drum machine; Synthesizer; Electronic music | 40 64 | p
0 119 | reversed cymbal | a cymbal played backwards; reverse cymbal swell | Cymbal; Percussion; Whoosh, swoosh, swish; Noise; Hi-hat; Hiss | 55 67 | x
0 120 | guitar string squeak | fingers sliding on guitar strings | Guitar; Squeak; Scratch; Scrape; Plucked string instrument; Zing | 50 80 | x
0 121 | breath | someone breathing; blowing air | Breathing; Wheeze; Sigh; Gasp; Wind; Hiss; Whoosh, swoosh, swish | 50 72 | x
0 122 | sea waves | waves on the shore; surf; the ocean | Ocean; Waves, surf; Water; Wind; White noise; Stream; Rain | 48 67 | x
0 123 | bird tweeting | birds chirping; a bird singing | Bird; Bird vocalization, bird call, bird song; Chirp, tweet; Animal; Wild animals | 55 79 | x
0 124 | telephone ringing | a ringing phone; an old phone | Telephone; Telephone bell ringing; Ringtone; Alarm; Alarm clock; Bell | 55 72 | x
0 125 | helicopter | a helicopter flying; chopper blades | Helicopter; Aircraft; Propeller, airscrew; Vehicle; Engine; Aircraft engine | 50 66 | x
0 126 | applause | people clapping; an audience applauding | Applause; Clapping; Crowd; Cheering; Rain | 50 67 | x
0 127 | gunshot | a gun being fired; a shot | Gunshot, gunfire; Explosion; Machine gun; Artillery fire; Bang; Fusillade | 48 72 | x
1 48 | dry string orchestra | string section | {STRINGS} | 40 88 | c
1 115 | temple blocks | wood blocks | Wood block; Percussion; Wood; Tap; Knock | 58 62 | p
8 6 | coupled harpsichord | harpsichord | Harpsichord; Keyboard (musical); Plucked string instrument | 40 84 | c
8 14 | church bell | tolling bell; big bell | Church bell; Bell; Tubular bells; Chime; Change ringing (campanology) | 50 70 |
8 19 | cathedral organ | church organ; pipe organ | {ORGAN}; Christian music | 36 84 | c
8 21 | Italian accordion | accordion | {REED} | 53 88 | c
8 24 | ukulele | little Hawaiian guitar | Ukulele; {GUITAR}; Mandolin; Strum | 60 84 | c
8 25 | twelve-string guitar | acoustic guitar | {GUITAR}; Strum; Mandolin | 40 79 | c
8 26 | Hawaiian steel guitar | slide guitar | Steel guitar, slide guitar; {GUITAR}; Electric guitar | 45 81 |
8 28 | funk guitar | electric guitar | {EGUITAR}; Funk | 43 76 | c
8 40 | gentle violin | violin | Violin, fiddle; {BOWED} | 55 91 |
8 80 | sine wave tone | pure tone; beep | Sine wave; {SYNTH}; Beep, bleep; Tuning fork | 55 91 |
8 115 | castanets | Spanish castanets | Wood block; Percussion; Clicking; Rattle; Rattle (instrument) | 60 76 | p
8 116 | concert bass drum | big bass drum | Bass drum; {DRUM}; Boom; Thump, thud | 40 60 | p
"""

# (key, kit bank-128 programs to draw from, name, other names, labels); General MIDI percussion map.
DRUMS = """
35 36 | bass drum | kick drum | Bass drum; Drum; Drum kit; Percussion; Thump, thud
38 40 | snare drum | snare | Snare drum; Drum; Drum kit; Percussion; Rimshot
37 | rimshot | side stick | Rimshot; Snare drum; Percussion; Drum; Wood block
39 | hand clap | clap | Clapping; Hands; Percussion; Drum machine; Snare drum
41 43 | low tom | floor tom; tom-tom drum | Drum; Drum kit; Percussion; Bass drum
48 50 | high tom | tom-tom drum | Drum; Drum kit; Percussion; Snare drum
42 | closed hi-hat | hi-hat | Hi-hat; Cymbal; Percussion; Drum kit
46 | open hi-hat | hi-hat | Hi-hat; Cymbal; Percussion; Drum kit
49 57 | crash cymbal | cymbal crash | Cymbal; Percussion; Drum kit; Hi-hat; Gong
51 59 | ride cymbal | cymbal | Cymbal; Percussion; Drum kit; Hi-hat
52 | Chinese cymbal | cymbal; small gong | Cymbal; Gong; Percussion; Drum kit; Hi-hat
54 | tambourine | jingling tambourine | Tambourine; Percussion; Hi-hat; Jingle bell; Maraca
56 | cowbell | cow bell | Cowbell; Percussion; Wood block; Clang; Bell
58 | vibraslap | rattling percussion | Rattle (instrument); Rattle; Percussion; Maraca
60 61 | bongo drum | bongos | Drum; Percussion; Tabla; Wood block
62 63 64 | conga drum | congas | Drum; Percussion; Tabla; Bass drum
65 66 | timbale | timbales | Drum; Percussion; Snare drum; Steelpan
69 | cabasa | shaker | Maraca; Percussion; Rattle (instrument); Hi-hat
70 | maracas | shaker | Maraca; Percussion; Rattle (instrument); Hi-hat
71 72 | referee's whistle | whistle; someone blowing a whistle | Whistle; Whistling; Bird; Steam whistle
73 74 | guiro | scraped guiro | Percussion; Scrape; Scratch; Rattle (instrument); Ratchet, pawl; Maraca
75 | claves | wooden sticks | Wood block; Percussion; Clicking; Wood; Tick
76 77 | wood block | woodblock | Wood block; Percussion; Wood; Tap; Knock
78 79 | cuica | squeaking drum | Drum; Percussion; Squeak; Whimper (dog); Bird
80 81 | triangle | ringing triangle | Bell; Ding; Percussion; Glockenspiel; Jingle bell; Chime
82 | shaker | egg shaker | Maraca; Percussion; Rattle (instrument); Hi-hat
83 | sleigh bells | jingle bells | Jingle bell; Bell; Jingle, tinkle; Tambourine; Percussion; Christmas music
84 | wind chimes | bell tree | Wind chime; Chime; Bell; Jingle, tinkle; Glockenspiel; Percussion
"""


@dataclass(frozen=True)
class Instrument:
    """A preset (or, with bank 128, one drum of a kit) and how people call it."""

    bank: int
    program: int
    name: str
    others: tuple[str, ...]
    labels: tuple[str, ...]
    low: int
    high: int
    flags: str = ""

    @property
    def key(self) -> str:
        return f"b{self.bank}p{self.program}" + (f"k{self.low}" if self.bank == 128 else "")


def _words(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in cell.split(";") if word.strip()))


@cache
def instruments() -> tuple[Instrument, ...]:
    """All presets of TABLE, the 128 programs of bank 0 first."""
    rows = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
    return tuple(
        Instrument(*map(int, where.split()), name, _words(others), _words(labels), *map(int, span.split()), flags)
        for where, name, others, labels, span, flags in rows
    )


@cache
def drums() -> tuple[Instrument, ...]:
    """Every drum of DRUMS, one Instrument per name (low..high are its keys), kit 0."""
    rows = [[cell.strip() for cell in line.split("|")] for line in DRUMS.strip().splitlines()]
    return tuple(
        Instrument(128, 0, name, _words(others), _words(labels), int(keys.split()[0]), int(keys.split()[-1]), "p")
        for keys, name, others, labels in rows
    )


PLURAL = {"tubular bells", "timpani", "plucked strings", "tremolo strings", "guitar harmonics", "bongos", "bagpipes", "temple blocks", "castanets", "maracas", "claves", "sleigh bells",
          "wind chimes", "sea waves", "applause", "bowed glass", "slap bass", "popping slap bass", "synth bass", "deep synth bass", "synth brass", "mellow synth brass"}  # fmt: skip


def article(name: str) -> str:
    """`a violin`, `an accordion`, `timpani`: the name with its indefinite article."""
    if name in PLURAL:
        return name
    return f"an {name}" if name[0] in "aeioAEIO" or name.startswith("FM") else f"a {name}"

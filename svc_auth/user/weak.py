"""Which passwords are weak: what an attacker tries first, by a short list and the ways in which people vary it.

It never asks for digits or capitals, which make passwords worse and not better (NIST SP 800-63B, 3.1.1.2).
"""

from __future__ import annotations

import re

MAX_DECORATION = 6
"""As many digits and signs around a common word add nothing: they are tried as well."""
MIN_PART = 3
"""A part of an address has as many letters, or every text with few of them would be one."""
MAX_UNIT = 4
"""A text that repeats so short a part is as weak as the part."""

_ROWS = (
    "01234567890123456789",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop[]",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.",
    "qazwsxedcrfvtgbyhnujmikolp",
    "zaq12wsxcde34rfvbgt56yhn",
    "!@#$%^&*()",
    "147258369",
    "741852963",
    "159357",
)
"""Keys in the order of a keyboard, letters and digits in their own; read in either direction."""
_WALKS = tuple(row for each in _ROWS for row in (each, each[::-1]))

_COMMON = frozenset(
    """
    aaa abc abcd access adgjmptw adidas admin administrator alexander alexandra alexis amanda america andrea
    andrew angel angela anthony apple april arsenal asd asdf asdfgh ashley asshole august austin azerty
    babygirl bailey banana barcelona barney baseball basketball batman beautiful benjamin bigdaddy bitch
    blessed blink bonnie booboo boston brandon brandy broncos bubbles buster butterfly camaro canada captain
    carlos caroline cassie changeit changeme charles charlie cheese chelsea chester chicago chicken chocolate
    chris christian christine christopher cocacola coffee computer cookie cooper corvette cowboys crystal
    dallas daniel danielle david december default demo dennis diamond dolphin donald dragon eagles elephant
    elizabeth eminem england everton facebook family favorite ferrari flower football forever freedom friend
    friends fuckoff fuckyou gabriel garfield george giants ginger godzilla golden google gordon guest guitar
    hallo hannah happy hardcore harley heather hello helloworld hockey holiday hotdog hunter iceman iloveu
    iloveyou internet jackson jasmine jason jennifer jeremy jessica jesus jesuschrist johnny jonathan jordan
    jordon joseph joshua junior justin killer kitty knight ladies lakers lauren letmein letmeinnow lifehack
    liverpool login london love lovely loveme lover loveyou lucky madison maggie manchester manutd marina
    marine marlboro martin master matrix matthew maverick mercedes merlin metallica michael michelle mickey
    midnight monday money monika monkey monster mother mustang myspace naruto nascar natasha newyork nicholas
    nicole nintendo november october oliver orange packers panther paradise parola pass passcode passwd
    password passwords passwort pepper phoenix player please pokemon prince princess private purple qwe qwer
    qwert qwerty qwertz rabbit rachel raiders rainbow ranger rebecca redsox richard robert rockyou root
    samantha samsung sandra scooter secret secure security september server service shadow shopping silver
    skyline slipknot snoopy soccer softball sophie spider spiderman spring startrek starwars steelers stella
    steven summer sunday sunflower sunshine superman superstar sweetheart sweetie sweety swordfish taylor temp
    tennis test teste tester testing thomas thunder tiger tigger tinkerbell titan titanic toyota trustno
    united user victoria viking welcome welcomehome whatever william willow wilson windows winner winter
    wizard xbox yamaha yankees yellow zxc zxcvbn
    """.split()
)
"""Words, with the letters that digits and signs stand for, and without what stands around them."""

_STANDS_FOR = str.maketrans("013457@$!|8", "oleastasiib")
_STANDS_FOR_I = str.maketrans("013457@$!|8", "oieastasiib")
_NO_LETTERS = re.compile(r"[\W\d_]+")
_EDGES = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_RUNS = re.compile(r"[^\W\d_]+|\d+|[\W_]+")


def is_common(folded: str) -> bool:
    """Whether a password, in lower case, is a common word, a row of keys, or a short part again and again."""
    if _repeats(folded) or _is_walk(folded):
        return True
    runs = _RUNS.findall(folded)
    if len(runs) <= 3 and all(len(run) == 1 or _is_walk(run) or _repeats(run) for run in runs):
        return True
    for core in (folded, _EDGES.sub("", folded)):
        for letters in (_STANDS_FOR, _STANDS_FOR_I):
            word = _letters(core.translate(letters))
            if word in _COMMON and len(folded) - len(word) <= MAX_DECORATION:
                return True
    return False


def is_part_of(folded: str, address: str) -> bool:
    """Whether a password is a part of an address, both in lower case, whatever digits and signs stand around it."""
    word = _letters(folded)
    decorated = len(word) >= MIN_PART and len(folded) - len(word) <= MAX_DECORATION
    return folded in address or (decorated and word in _letters(address))


def _letters(text: str) -> str:
    return _NO_LETTERS.sub("", text)


def _is_walk(text: str) -> bool:
    return any(text in row for row in _WALKS)


def _repeats(text: str) -> bool:
    unit = (text + text).find(text, 1)
    return unit < len(text) and unit <= MAX_UNIT

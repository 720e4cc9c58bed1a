"""The little English that names of things need: words, plurals, and words that are no things."""

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


NUMBERS = _set("two three four five six seven eight nine ten")
DETERMINERS = _set(
    "a an the some any many much several few more most all both each every another other no "
    "one two three four five six seven eight nine ten eleven twelve dozen multiple various "
    "his her its their my our your this that these those such what whose"
)
PREPOSITIONS = _set(
    "of in on at by with without from to into onto under over above below beneath behind beside "
    "besides between among amongst near next against along alongside across around through "
    "throughout past down up off out outside inside within toward towards during before after "
    "upon for about like as than via per beyond underneath amid opposite"
)
CONJUNCTIONS = frozenset({"and", "or", "&", "plus"})
BREAKS = _set(
    "but while when where that which who whom there it they them he she him we us you i is are "
    "was were be been being am has have had having can could will would may might must do does "
    "did not just only also then so because if"
)
# What comes after "of" is the thing, not these.
QUANTITIES = _set(
    "group row line pair couple lot bunch number crowd set piece series stack fleet pile herd "
    "flock bundle cluster collection handful variety array queue lots rows lines pairs"
)
# Forms of verbs that captions say after a thing. Before one, they describe it: "a parked car".
PARTICIPLES = _set(
    "parked filled dressed covered topped made seen taken surrounded lined hung mounted attached "
    "stopped painted displayed placed built shown written lit driven ridden held worn stacked "
    "set laid left lying tied wrapped decorated sitting standing riding walking driving holding "
    "wearing crossing carrying pushing pulling waiting running going coming looking flying "
    "hanging leaning playing eating talking using working moving traveling travelling facing "
    "showing growing laying reading passing turning skating jumping rolling selling"
)
FINITE_VERBS = _set(
    "sits stands rides drives walks says reads hangs lies looks shows goes runs flies holds waits "
    "travels wears eats leads passes moves contains features"
)
PLURAL_VERBS = _set("sit stand ride drive walk hang lie wait run hold cross look")
# Words in -ing that are things of their own.
THINGS_IN_ING = _set(
    "building ceiling railing painting clothing awning ring king wing string spring swing sling "
    "evening morning wedding crossing opening siding roofing flooring lighting fencing wiring "
    "drawing carving covering landing lining stocking plumbing housing signing thing something "
    "everything nothing anything earring pudding bedding parking"
)
_ING_BEFORE_THINGS = _set(
    "parking swimming dining living washing shopping running vending sewing cutting fishing "
    "sailing racing wading steering sleeping hiking waiting boarding loading rocking frying "
    "mixing serving changing dressing wedding landing running filing"
)
_THINGS_AFTER_ING = _set(
    "lot lots meter meters garage space spaces spot pool pools table tables room rooms machine "
    "machines cart carts bag bags mall shoe shoes board boat boats pole rod car cars stick wheel "
    "trail area dock chair chairs pan bowl tray cake dress gear track tracks deck ramp sign signs "
    "cabinet station kart"
)
COLOURS = _set(
    "black white red green blue yellow orange brown grey gray pink purple silver gold beige tan "
    "dark light old young big small tall short large wet dry"
)

_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "feet": "foot", "geese": "goose",
    "teeth": "tooth", "mice": "mouse", "leaves": "leaf", "knives": "knife", "shelves": "shelf",
    "wolves": "wolf", "loaves": "loaf", "halves": "half", "calves": "calf", "oxen": "ox",
    "buses": "bus", "busses": "bus", "minibuses": "minibus", "trolleybuses": "trolleybus",
    "omnibuses": "omnibus", "lenses": "lens", "cacti": "cactus", "tomatoes": "tomato",
    "potatoes": "potato", "movies": "movie", "cookies": "cookie", "birdies": "birdie",
    "policemen": "policeman", "policewomen": "policewoman", "firemen": "fireman",
    "workmen": "workman", "businessmen": "businessman", "headaches": "headache",
}  # fmt: skip
_NO_PLURAL = frozenset({"gas", "atlas", "canvas", "christmas", "series", "species", "lens", "yes"})

_PIECES = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|&", re.UNICODE)


def words_of(text: str) -> tuple[str, ...]:
    """Words in lower case, parted by anything but letters, digits and the `'s` of "man's".

    >>> words_of(" The man's Traffic_light-pole ")
    ('the', "man's", 'traffic', 'light', 'pole')
    """
    return tuple(word.replace("’", "'") for word in _PIECES.findall(text.casefold()))


def singular(word: str) -> str:
    """One of what a plural names; any other word as it is.

    Words whose singular ends in "is", "ss" or "us" keep it. The rules need not be perfect as long
    as both sides of a comparison go through them.

    >>> [singular(word) for word in ("buses", "bicycles", "bushes", "ladies", "grass", "people")]
    ['bus', 'bicycle', 'bush', 'lady', 'grass', 'people']
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or not word.endswith("s") or word in _NO_PLURAL:
        return word
    if word.endswith(("ss", "us", "is", "'s")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zzes")):
        return word[:-2]
    return word[:-1]


def is_ing_compound(first: str, second: str) -> bool:
    """Whether "parking" and "lot" are one thing, and not a deed."""
    return first in _ING_BEFORE_THINGS and second in _THINGS_AFTER_ING

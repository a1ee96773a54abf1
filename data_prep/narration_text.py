"""What an Ego4D or Ego-Exo4D narration says, without its tags, and about whom."""

import re

WEARER = "wearer"
OTHERS = "others"
SUMMARY = "summary"
UNTAGGED = "untagged"

# A letter is a tag's subject only where it stands alone: before a blank, a stop, the end, or a
# character of a script that does not use Latin letters.
_ALONE = r"(?=[\s.,:;]|$|[^\x00-\u024f])"
_TAG = re.compile(r"#\s*(c|o|summary|unsure)(?![a-z])", re.IGNORECASE)
_WEARER = re.compile(rf"\s*(?:#\s*c{_ALONE}\s*)+(?:c{_ALONE})?", re.IGNORECASE)
_BARE_WEARER = re.compile(rf"\s*C{_ALONE}\s*(?:C{_ALONE})?")
_OTHER = re.compile(rf"\s*(?:#\s*o{_ALONE}\s*)+", re.IGNORECASE)
_UNSURE = re.compile(r"#\s*unsure(?![a-z])", re.IGNORECASE)
# behind a whole sentence the tag is no word of it, but a note on it
_NOTE = re.compile(r"(?<=[.!?])\s*#\s*unsure[\s.]*$", re.IGNORECASE)
_MARK = re.compile(rf"#\s*[co]{_ALONE}", re.IGNORECASE)
_EDGES = " \t\r\n.,;:"


def subject_of(text: str) -> str:
    """Whom a narration is about: `WEARER`, `OTHERS`, `SUMMARY` or `UNTAGGED`.

    The first tag decides (`#C` the camera wearer, `#O` somebody else); without one, a sentence that
    begins with the word C speaks of the wearer.
    """
    for tag in _TAG.finditer(text):
        kind = {"c": WEARER, "o": OTHERS, "summary": SUMMARY}.get(tag[1].lower())
        if kind:
            return kind
    return WEARER if _BARE_WEARER.match(text) else UNTAGGED


def clean(text: str) -> str:
    """The sentence alone: "#C C  opens a #unsure." becomes "opens a something".

    Only the leading tag and its subject letter go (every other capital C stays, as in "Coca-Cola"
    or "gives a cup to C"); marks inside the sentence lose their `#C` or `#O`; `#unsure` becomes
    "something", or nothing behind a full stop; blanks are joined and stops at the ends removed.
    Case, other scripts and length stay as they are: the tokenizer folds and cuts. Deviates from
    IMU2CLIP (dataset/ego4d/dataloader.py), which lower-cases and cuts at 128 characters, and from
    PRIMUS, which removes every capital C.
    """
    for lead in (_WEARER, _OTHER, _BARE_WEARER):
        if match := lead.match(text):
            text = text[match.end() :]
            break
    text = _MARK.sub("", _UNSURE.sub("something", _NOTE.sub("", text)))
    return " ".join(text.split()).strip(_EDGES)

"""Class maps: which classes of a model belong to each class of the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from noctule.data.sources.table import read_columns
from noctule.errors import InputError, nearest
from noctule.input_files import read_text

OTHERS: Final = "*"
_FOLDER: Final = Path(__file__).parent / "class_maps"
_EXAMPLE: Final = (
    'Write {"dog": ["n02085620", "n02085782"], "cat": ["n02123045"]}, for example.'
)


class ClassMap(NamedTuple):
    """The classes of a model that belong to each class of the data.

    Attributes:
        name: Name in tables: that of the map, or of its file.
        members: WordNet ids, names or indices of a model's classes by class of the data. Images
            of a class without any are left out.
        leaves_out_others: Whether images of all other classes are left out as well.
    """

    name: str
    members: Mapping[str, tuple[str, ...]]
    leaves_out_others: bool

    @property
    def sha256(self) -> str:
        """A hash of the members, whatever the form of the file."""
        content = [sorted((key, sorted(one)) for key, one in self.members.items())]
        text = json.dumps([*content, self.leaves_out_others])
        return hashlib.sha256(text.encode()).hexdigest()


def class_map_names() -> list[str]:
    """The names of the maps that noctule has.

    >>> class_map_names()
    ['laion-c', 'objectnet']
    """
    return sorted(file.stem for file in _FOLDER.glob("*.json"))


def load_class_map(name_or_path: str | Path) -> ClassMap:
    """Read a class map by name, or from a file.

    A JSON file is an object: for each class of the data a list of the model's classes, by
    WordNet id, name or index; an empty list leaves the images of the class out, and `"*": []`
    those of all classes that are not listed. A CSV or TSV file has the columns `class` (of the
    model) and `superclass` (of the data).

    Raises:
        InputError: There is no such map or file, or it has another form.

    >>> len(load_class_map("laion-c").members)
    16
    """
    known = str(name_or_path) in class_map_names()
    file = _FOLDER / f"{name_or_path}.json" if known else Path(name_or_path).expanduser()
    if not known and not file.suffix and not file.exists():
        names = class_map_names()
        guess = nearest(str(name_or_path), names)
        raise InputError(
            f"there is no class map '{name_or_path}'",
            remedy=f"{f'Did you mean {guess}? ' if guess else ''}Known: {', '.join(names)}; or "
            "pass a JSON or CSV file.",
        )
    is_table = file.suffix.lower() in (".csv", ".tsv")
    members = _from_table(file) if is_table else _from_json(file)
    leaves_out_others = OTHERS in members
    if members.pop(OTHERS, ()) or not any(members.values()):
        what = f"'{OTHERS}' must be empty" if leaves_out_others else "names no classes"
        raise InputError(what, where=file, remedy=_EXAMPLE)
    _check_once(members, file)
    return ClassMap(file.stem, members, leaves_out_others)


def _from_table(file: Path) -> dict[str, tuple[str, ...]]:
    members: dict[str, tuple[str, ...]] = {}
    for member, superclass in read_columns(file, ("class", "superclass")):
        members[superclass] = (*members.get(superclass, ()), member)
    return members


def _from_json(file: Path) -> dict[str, tuple[str, ...]]:
    try:
        data = json.loads(read_text(file), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not a class map: {error}"[:200], where=file) from error
    if not isinstance(data, dict):
        raise InputError("is not an object in JSON", where=file, remedy=_EXAMPLE)
    return {key: _members(key, value, file) for key, value in data.items()}


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ; JSON itself would take the last of equal ones."""
    data: dict[str, Any] = {}
    for key, value in pairs:
        if key in data:
            raise ValueError(f"'{key}' occurs twice")
        data[key] = value
    return data


def _members(key: str, value: Any, file: Path) -> tuple[str, ...]:
    kinds = (str, int)
    if not isinstance(value, list) or any(
        isinstance(one, bool) or not isinstance(one, kinds) for one in value
    ):
        what = f"'{key[:80]}' is not a list of WordNet ids, names or indices of classes"
        raise InputError(what, where=file, remedy=_EXAMPLE)
    return tuple(map(str, value))


def _check_once(members: Mapping[str, tuple[str, ...]], file: Path) -> None:
    """Refuse a class in two lists: its probability would count twice."""
    place: dict[str, str] = {}
    for key, names in members.items():
        for name in names:
            if name in place:
                both = {place[name]: None, key: None}
                raise InputError(
                    f"'{name[:80]}' occurs twice, in {' and '.join(map(repr, both))}",
                    where=file,
                    remedy="Put each class of the model into one list.",
                )
            place[name] = key

"""Specifications in TOML files: every mistake in a file is an error with the file and the
key.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from noctule.arguments import path_like
from noctule.errors import InputError, OutputError, listed, nearest, unknown_name
from noctule.input_files import read_text, reject_special_files
from noctule.registry import Registry

SpecT = TypeVar("SpecT", bound="Spec")

_MAX_SHOWN = 200


class Spec(BaseModel):
    """Base of everything read from a TOML file: immutable, without unknown keys or conversions.

    Sequences are declared as tuples, to which TOML arrays are converted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SpecValueError(ValueError):
    """Raised by a validator of a `Spec`; the reader adds the file and the key.

    Args:
        what: Description of the mistake.
        remedy: How to correct it.
    """

    def __init__(self, what: str, remedy: str | None = None) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(what)

    @classmethod
    def because(cls, error: InputError) -> SpecValueError:
        """The same message, for the key that is being validated."""
        return cls(error.what, error.remedy)


def read_spec(path: Path, spec: type[SpecT]) -> SpecT:
    """Read a TOML file into a spec.

    Raises:
        InputError: The file cannot be read, is not TOML (with the line), or has an unknown,
            missing or wrong key (with the dotted key; the nearest known key is suggested).
    """
    return parse_spec(read_text(path), spec, where=path)


def parse_spec(text: str, spec: type[SpecT], *, where: object) -> SpecT:
    """Parse TOML text into a spec; `where` is the file that error messages name.

    >>> class City(Spec):
    ...     name: str
    >>> parse_spec("name = 'Berlin'", City, where="city.toml")
    City(name='Berlin')
    >>> parse_spec("nam = 'Berlin'", City, where="city.toml")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    noctule.errors.InputError: city.toml: nam: unknown key 'nam'. Did you mean 'name'? ...
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), where) from error
    except (ValueError, RecursionError) as error:
        raise _excessive(where) from error
    return build_spec(data, spec, where=where)


def build_spec(data: Mapping[str, Any], spec: type[SpecT], *, where: object) -> SpecT:
    """Validate plain data (from TOML or JSON) as a spec; errors as in `read_spec`."""
    try:
        return spec.model_validate(_with_tuples(data))
    except ValidationError as error:
        raise _input_error(error, spec, where) from error
    except (ValueError, RecursionError) as error:
        raise _excessive(where) from error


def registry_of_files(kind: str, folder: Path) -> Registry[Path]:
    """A registry of TOML files by name; those in a folder of noctule's are its first entries.

    Args:
        kind: What an entry is called: "benchmark". The group of entry points is its plural.
        folder: Holds the files that come with noctule.
    """
    registry: Registry[Path] = Registry(kind, f"noctule.{folder.name}")
    for path in sorted(folder.glob("*.toml")):
        registry.add(path.stem, path, origin=f"noctule.{folder.name}")
    return registry


def read_named(name_or_path: str | Path, files: Registry[Path], spec: type[SpecT]) -> SpecT:
    """Read a registered TOML file by its name, or a user's by its path.

    Args:
        name_or_path: A name in `files`, or the path of a file named *.toml.
        files: The registered files.
        spec: What to read it into.

    Raises:
        InputError: The name (the nearest is suggested) or file does not exist, or the file has
            a mistake (with the file and the dotted key).
    """
    path = path_like(name_or_path, files.kind)
    if str(name_or_path) in files:
        return read_spec(files[str(name_or_path)], spec)
    if path.suffix == ".toml" or path.name != str(name_or_path):
        return read_spec(path, spec)
    if path.is_file():
        raise InputError(
            f"is not named *.toml, as a {files.kind} file must be",
            where=path,
            remedy=f"Rename it to {path}.toml.",
        )
    return read_spec(files[str(name_or_path)], spec)  # an error: there is none of this name


def to_toml(data: Mapping[str, Any]) -> str:
    """Convert strings, integers, floats, flat lists, tables and lists of tables to TOML.

    >>> print(to_toml({"name": "a", "severities": [1, 2], "errors": {"shear@3": 0.5}}), end="")
    name = "a"
    severities = [1, 2]
    <BLANKLINE>
    [errors]
    "shear@3" = 0.5
    """
    return "\n".join(_table_lines(data, prefix="")) + "\n"


def write_toml(data: Mapping[str, Any], path: Path) -> None:
    """Write `to_toml(data)` to a file.

    Raises:
        InputError: The path is a named pipe, a device or a folder.
        OutputError: The file cannot be written.
    """
    reject_special_files(path)
    try:
        path.write_text(to_toml(data), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=path) from error


def _syntax_error(message: str, where: object) -> InputError:
    line = re.search(r"\(at line (\d+), column \d+\)", message)
    location = f"{where}, line {line.group(1)}" if line else where
    return InputError(f"is not valid TOML: {message}", where=location)


def _excessive(where: object) -> InputError:
    """The error for files that exceed Python's own limits."""
    return InputError("is nested too deeply, or has a number of too many digits", where=where)


def _truncate(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _repr(value: object) -> str:
    try:
        return _truncate(repr(list(value) if isinstance(value, tuple) else value))
    except (ValueError, RecursionError):  # Python does not print more than 4,300 digits
        return "a value that is too large to be shown"


def _with_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_with_tuples(item) for item in value)
    return value


def _input_error(error: ValidationError, spec: type[Spec], where: object) -> InputError:
    """The error for the first mistake that validation has found."""
    # A misspelt key is both unknown and missing; the error names the unknown key.
    details = error.errors(include_url=False)
    first = next((entry for entry in details if entry["type"] == "extra_forbidden"), details[0])
    if several := _several_keys(details, spec):
        return InputError(several[0], where=where, remedy=several[1])
    path = first["loc"]
    location = f"{where}: {_truncate(_dotted(path))}" if path else str(where)
    if first["type"] == "extra_forbidden":
        known = _known_keys(spec, path[:-1])
        return unknown_name("key", _truncate(str(path[-1])), known, where=location)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, SpecValueError):
        return InputError(cause.what, where=location, remedy=cause.remedy)
    if first["type"] == "missing":
        missing = [
            _truncate(_dotted(one["loc"])) for one in details if one["type"] == "missing"
        ]
        if len(missing) == 1:
            return InputError("this key is missing", where=location)
        return InputError(f"the keys {listed(missing)} are missing", where=where)
    demand = first["msg"].removeprefix("Input ").replace("tuple", "list")
    demand = demand.replace("dictionary", "table")
    return InputError(f"{demand}, not {_repr(first['input'])}", where=location)


def _several_keys(details: Sequence[Any], spec: type[Spec]) -> tuple[str, str] | None:
    """A description of all unknown and missing keys, if one error is not enough for them."""
    unknown = [one["loc"] for one in details if one["type"] == "extra_forbidden"]
    missing = [one["loc"] for one in details if one["type"] == "missing"]
    tables = {path[:-1] for path in unknown + missing}
    if not unknown or (len(unknown) == 1 and len(tables) == 1):
        return None
    hints = []
    for path in unknown:
        guess = nearest(str(path[-1]), _known_keys(spec, path[:-1]))
        hint = f" (did you mean '{guess}'?)" if guess else ""
        hints.append(_truncate(_dotted(path)) + hint)
    what = f"unknown {'keys' if len(hints) > 1 else 'key'}: {listed(hints)}"
    if missing:
        what += f"; missing: {listed(_truncate(_dotted(path)) for path in missing)}"
    tables_known = dict.fromkeys(tuple(_known_keys(spec, path[:-1])) for path in unknown)
    known = "; ".join(", ".join(sorted(keys)) for keys in tables_known)
    return what, f"Known keys: {known}."


def _dotted(path: Sequence[int | str]) -> str:
    """The dotted key, such as `references[0].errors.shear`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).lstrip(".")


def _known_keys(spec: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    inside: list[type[BaseModel]] = []
    for part in path:
        if isinstance(part, str) and part in spec.model_fields:
            inside = list(_specs_in(spec.model_fields[part].annotation))
            spec = inside[0] if inside else spec
        else:  # in a union of specs, the path contains the `kind`
            spec = next((member for member in inside if part in _kinds(member)), spec)
    return list(spec.model_fields)


def _kinds(spec: type[BaseModel]) -> tuple[Any, ...]:
    """The values of the key `kind` in tables of this spec."""
    kind = spec.model_fields.get("kind")
    return get_args(kind.annotation) if kind else ()


def _specs_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _specs_in(inner)


def _table_lines(table: Mapping[str, Any], prefix: str) -> Iterator[str]:
    nested = {key: value for key, value in table.items() if _is_table(value)}
    for key, value in table.items():
        if key not in nested:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in nested.items():
        name = f"{prefix}{_key(key)}"
        brackets = f"[{name}]" if isinstance(value, Mapping) else f"[[{name}]]"
        for entry in [value] if isinstance(value, Mapping) else value:
            yield ""
            yield brackets
            yield from _table_lines(entry, f"{name}.")


def _is_table(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    return isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # JSON's escapes are valid in TOML, but JSON does not escape DEL, as TOML requires.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise TypeError(f"{value!r} has no TOML form here")

"""The errors that a user can cause and mend. Everything else is a bug and keeps its traceback."""


class StudyError(Exception):
    """Something the user gave cannot be used; the message says what, where, and what to do."""


class DataError(StudyError, ValueError):
    """A picture, pair file, archive or bank is missing, malformed or not what it claims to be."""


class ConfigError(StudyError, ValueError):
    """A setting has a value that does not exist or cannot work."""


class RunError(StudyError, RuntimeError):
    """A training process failed, or a stored run is damaged."""


def one_line(text):
    """A text as one line of printable characters: names in it may come from anybody's files, and logs are read in terminals."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text).strip())


def choose_one(kind, value, known):
    """Raise ConfigError unless `value` is in `known`; the message lists the known ones and the nearest."""
    if value in known:
        return value
    import difflib
    names = [str(k) for k in known]
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"unknown {kind} {value!r}{hint} Known: {', '.join(names)}." if near
                      else f"unknown {kind} {value!r}. Known: {', '.join(names)}.")

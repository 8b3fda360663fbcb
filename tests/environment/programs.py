"""Which programs the sources start, as far as that can be seen without running them.

It looks at the first word of every command that is given to `subprocess` or to Trio: through names, constants, paths,
conditions, functions that return a command, and functions that are given one. A command that it cannot see is named as
such. A program that is looked for with `shutil.which` counts as started. Of a shell's text it sees the words that stand
where commands do.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

STARTERS = frozenset(
    {
        *(f"subprocess.{name}" for name in ("Popen", "run", "call", "check_call", "check_output", "getoutput")),
        *("trio.run_process", "trio.lowlevel.open_process", "asyncio.create_subprocess_exec"),
        *(f"os.{name}" for name in ("system", "popen", "execv", "execve", "execvp", "posix_spawn", "posix_spawnp")),
    }
)
PYTHON = "python"
"""How `sys.executable` is named here."""

NODE = "NODE"
"""How the Node of the wheel is named here, unlike one that a machine may have."""

UNSEEN = "?"
"""How a command is named that cannot be seen."""

WRAPPERS = frozenset({"setpriv"})
"""Programs that start what comes behind them."""

SHELLS = frozenset({"sh", "bash"})
PASSED_OVER = frozenset({"do", "until", "while", "if", "then", "exec", "sudo"})
"""Words of a shell behind which a command stands."""

NO_COMMAND = frozenset(
    {"done", "fi", "for", "export", "ulimit", "cd", "trap", "true", ":", ".", "echo", "kill", "wait"}
)
"""Words of a shell that are no programs, nor is what follows them."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, order=True)
class Started:
    """A program that is started, or `UNSEEN`; `where` is file and line."""

    name: str
    where: str


class _Module:
    def __init__(self, path: Path, root: Path) -> None:
        self.path = path.relative_to(root)
        self.calls: list[ast.Call] = []
        self.values: dict[tuple[Function | None, str], list[ast.expr]] = {}
        """What names stand for, in the module itself and in each function."""
        self.functions: dict[str, Function] = {}
        self.imports: dict[str, str] = {}
        """Names that are imported, and the modules that they come from."""
        self.enclosing: dict[ast.AST, Function] = {}
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call():
                    self.calls.append(node)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.values.setdefault((self.enclosing.get(node), name), []).append(value)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    self.values.setdefault((self.enclosing.get(node), name), []).append(value)
                case ast.ImportFrom(module=str(origin), names=names):
                    self.imports |= {alias.asname or alias.name: origin for alias in names}
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self.functions[node.name] = node
                    # Inner functions come later in the walk, so that the innermost one stays.
                    self.enclosing |= dict.fromkeys(ast.walk(node), node)


class Sources:
    """Python files under `root` that know of each other's names."""

    def __init__(self, root: Path, files: list[Path]) -> None:
        self._modules = {".".join(path.relative_to(root).with_suffix("").parts): _Module(path, root) for path in files}
        self._takers: dict[Function, int] = {}
        """Functions that start what they are given, and the place of that among their arguments."""

    def started(self) -> list[Started]:
        """Every program that is started in these files, and every command that cannot be seen."""
        known, found = -1, set[Started]()
        # A function that starts what it is given makes its callers worth another look.
        while known < len(self._takers):
            known = len(self._takers)
            found = {started for module in self._modules.values() for started in self._in(module)}
        return sorted(found)

    def _in(self, module: _Module) -> Iterator[Started]:
        for call in module.calls:
            look = _Look(self, module, module.enclosing.get(call))
            for command in self._commands(module, call):
                for name in look.at(command):
                    yield Started(name, f"{module.path}:{call.lineno}")

    def _commands(self, module: _Module, call: ast.Call) -> Iterator[ast.expr]:
        function, arguments = call.func, call.args
        if ast.unparse(function).rpartition(".")[2] == "partial" and arguments:
            function, arguments = arguments[0], arguments[1:]
        if ast.unparse(function) in STARTERS:
            yield from arguments[:1]
        elif ast.unparse(function) == "shutil.which":
            yield from (one for one in arguments[:1] if isinstance(one, ast.Constant))
        elif isinstance(function, ast.Name) and (found := self.function(module, function.id)) in self._takers:
            assert found is not None
            place = self._takers[found]
            yield from arguments[place : place + 1]
            yield from (one.value for one in call.keywords if one.arg == _parameters(found)[place])

    def home(self, module: _Module, name: str) -> _Module:
        """The module in which a name that is used in another is defined."""
        origin = self._modules.get(module.imports.get(name, ""))
        return module if origin is None or (None, name) in module.values else origin

    def function(self, module: _Module, name: str) -> Function | None:
        """The function of this name, as far as it is one of these files'."""
        return self.home(module, name).functions.get(name)

    def takes(self, function: Function, parameter: str) -> None:
        """Put down that a function starts this parameter."""
        self._takers.setdefault(function, _parameters(function).index(parameter))


class _Look:
    """A look at one command; `function` is where that stands, if in one."""

    def __init__(
        self, sources: Sources, module: _Module, function: Function | None, seen: set[ast.AST] | None = None
    ) -> None:
        self._sources = sources
        self._module = module
        self._function = function
        self._seen = set() if seen is None else seen

    def at(self, value: ast.expr) -> Iterator[str]:
        """The programs that the command may start."""
        if value in self._seen:
            return
        self._seen.add(value)
        match value:
            case ast.Constant(value=str(name)):
                yield name.rpartition("/")[2]
            case ast.Constant(value=None) | ast.List(elts=[]) | ast.Tuple(elts=[]):
                pass
            case ast.List(elts=[ast.Starred(value=first), *rest]) | ast.Tuple(elts=[ast.Starred(value=first), *rest]):
                before = list(self.at(first))
                yield from before
                rest = [word for word in rest if not _is_option(word)]
                # Behind nothing, or a wrapper, there is a command; behind a program there are its arguments.
                if set(before) <= WRAPPERS and not (self._is_given(first) and self._is_whole(rest)):
                    yield from self.at(ast.List(elts=rest))
            case ast.List(elts=words) | ast.Tuple(elts=words):
                yield from self.at(words[0])
                yield from _in_shell(words)
            case ast.BinOp(op=ast.Div(), right=one) | ast.BinOp(op=ast.Add(), left=one):
                yield from self.at(one)
            case ast.Starred(value=one) | ast.Subscript(value=one):
                yield from self.at(one)
            case ast.IfExp(body=one, orelse=other):
                yield from (*self.at(one), *self.at(other))
            case ast.BoolOp(values=values) | ast.Dict(values=values):
                for one in values:
                    yield from self.at(one)
            case ast.Attribute() if ast.unparse(value) == "sys.executable":
                yield PYTHON
            case ast.Call(func=ast.Name(id="str"), args=[one]) | ast.Call(func=ast.Name(id="map"), args=[_, one]):
                yield from self.at(one)
            case ast.Call(func=ast.Attribute(attr="which"), args=[one, *_]):
                yield from self.at(one)
            case ast.Call(func=ast.Name(id=name)):
                yield from self._returned(name)
            case ast.Name(id="NODE"):
                yield NODE
            case ast.Name(id=name):
                yield from self._named(name)
            case _:
                yield UNSEEN

    def _is_given(self, value: ast.expr) -> bool:
        return isinstance(value, ast.Name) and self._function is not None and value.id in _parameters(self._function)

    def _is_whole(self, rest: list[ast.expr]) -> bool:
        """Whether what the function is given is a program, going by what follows it, and not a wrapper in front of one.

        A test is given a program by its parameters.
        """
        by_parameters = self._function is not None and self._function.name.startswith("test_")
        return by_parameters or not rest or isinstance(rest[0], ast.Starred)

    def _returned(self, name: str) -> Iterator[str]:
        function = self._sources.function(self._module, name)
        home = self._sources.home(self._module, name)
        returned = [] if function is None else [node for node in ast.walk(function) if isinstance(node, ast.Return)]
        if not returned:
            yield UNSEEN
        for node in returned:
            if node.value is not None:
                yield from _Look(self._sources, home, function, self._seen).at(node.value)

    def _named(self, name: str) -> Iterator[str]:
        if self._function is not None and name in _parameters(self._function):
            self._sources.takes(self._function, name)
            return
        local = self._module.values.get((self._function, name))
        home = self._sources.home(self._module, name)
        look = self if local else _Look(self._sources, home, None, self._seen)
        values = local or home.values.get((None, name), [])
        if not values:
            yield UNSEEN
        for value in values:
            yield from look.at(value)


def _parameters(function: Function) -> list[str]:
    arguments = function.args
    names = [one.arg for one in arguments.posonlyargs + arguments.args]
    if arguments.vararg is not None:
        names.append(arguments.vararg.arg)
    return names + [one.arg for one in arguments.kwonlyargs]


def _is_option(word: ast.expr) -> bool:
    start = word.values[0] if isinstance(word, ast.JoinedStr) else word
    return isinstance(start, ast.Constant) and str(start.value).startswith("-")


def _in_shell(words: list[ast.expr]) -> Iterator[str]:
    match words:
        case [ast.Constant(value=shell), ast.Constant(value=str(flags)), ast.Constant(value=str(text)), *_]:
            if shell in SHELLS and re.fullmatch(r"-\w*c", flags):
                yield from commands_of(text)


def commands_of(shell: str) -> Iterator[str]:
    """The programs that a shell's text starts, by the last part of their paths."""
    # What is in a here-document or in single quotes is data.
    shell = re.sub(r"<<-?\s*(['\"]?)(\w+)\1(.*)\n(?:.*\n)*?\2(?=\n|$)", r"\3", shell)
    text = re.sub(r"'[^']*'", "''", shell.replace("\\\n", " "))
    for inner in re.findall(r"[$<>]\(([^()]*)\)", text):
        yield from commands_of(inner)
    text = re.sub(r"[$<>]\([^()]*\)", "", text)
    text = re.sub(r"[0-9]?[<>]+&?\s*\S*", " ", text)
    for line in re.split(r"[;\n|&]+", text):
        words = [word for word in shlex.split(line, comments=True) if word not in PASSED_OVER]
        if words[:1] == ["-u"]:  # of sudo, with a user
            del words[:2]
        while words and re.match(r"[A-Za-z_]\w*=", words[0]):
            del words[0]
        if words and words[0] not in NO_COMMAND and not words[0].startswith("$"):
            yield words[0].rpartition("/")[2]

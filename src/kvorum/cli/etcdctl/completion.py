"""Tab completion: scripts for bash and zsh, made from the table of commands.

What for: commands, options, and the words an option may have. Keys are not completed: the Tab key
would have to wait for the cluster.

Rules: one script for both shells. zsh runs it as bash does, by its own `bashcompinit`.
"""

from collections.abc import Iterator, Sequence

from kvorum.cli.etcdctl.command import Call, Command
from kvorum.cli.etcdctl.options import Option, UsageError

SHELLS = ("bash", "zsh")

SCRIPT = """\
# Completion of etcdctl. bash: eval "$(etcdctl completion bash)"; zsh: the same with zsh.
{prelude}_etcdctl() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local command= word skip= at
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${{COMP_WORDS[at]}}
        if [[ -n $skip ]]; then skip=; continue; fi
        case $word in
            {valued}) skip=1 ;;
            -*) ;;
            *) command="${{command:+$command }}$word"
               case $command in {groups}) ;; *) break ;; esac ;;
        esac
    done
    local words=
    case $previous in
{choices}        {files}) COMPREPLY=($(compgen -f -- "$current")); return ;;
        {valued}) COMPREPLY=(); return ;;
    esac
    case $command in
{cases}    esac
    if [[ $current == -* ]]; then words="$words {global_options}"; fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -F _etcdctl etcdctl
"""

ZSH_PRELUDE = "autoload -Uz +X compinit bashcompinit && compinit && bashcompinit\n"


def _print_completion(call: Call) -> int:
    del call
    raise AssertionError("main prints it: the table of commands is there")


COMPLETION = Command(
    "completion",
    "bash | zsh",
    "print a script that completes commands and options",
    'eval "$(etcdctl completion bash)"',
    (),
    _print_completion,
    asks="nothing",
)


def render(
    arguments: Sequence[str], commands: Sequence[Command], global_options: Sequence[Option]
) -> str:
    """The script for the shell that the arguments name.

    Raises:
        UsageError: they name none.
    """
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        raise UsageError(f"Name a shell: {' or '.join(SHELLS)}.")
    options = [*global_options, *(option for one in commands for option in one.options)]
    groups = sorted({one.name.split()[0] for one in commands if " " in one.name})
    return SCRIPT.format(
        prelude=ZSH_PRELUDE if arguments[0] == "zsh" else "",
        valued=_alternatives(option for option in options if option.kind != "flag"),
        files=_alternatives(option for option in options if option.value_name in {"FILE", "DIR"}),
        choices="".join(
            f'        {_alternatives([one])}) COMPREPLY=($(compgen -W "{" ".join(one.choices)}"'
            ' -- "$current")); return ;;\n'
            for one in options
            if one.choices
        ),
        groups="|".join(groups),
        cases="".join(_cases(commands, groups)),
        global_options=_long(global_options),
    )


def _cases(commands: Sequence[Command], groups: Sequence[str]) -> Iterator[str]:
    firsts = dict.fromkeys(one.name.split()[0] for one in commands)
    yield f"        '') words='{' '.join([*firsts, 'help'])}' ;;\n"
    for group in groups:
        verbs = [one.name.split()[1] for one in commands if one.name.startswith(f"{group} ")]
        yield f"        {group}) words='{' '.join(verbs)}' ;;\n"
    yield f"        help) words='{' '.join(firsts)}' ;;\n"
    yield f"        completion) words='{' '.join(SHELLS)}' ;;\n"
    for one in commands:
        if one.options:
            yield f"        '{one.name}') [[ $current == -* ]] && words='{_long(one.options)}' ;;\n"


def _alternatives(options: Iterator[Option] | Sequence[Option]) -> str:
    names = dict.fromkeys(
        f"{'-' if len(name) == 1 else '--'}{name}"
        for option in options
        for name in (option.name, *option.aliases)
    )
    return "|".join(names)


def _long(options: Sequence[Option]) -> str:
    return " ".join(f"--{one.name}" if len(one.name) > 1 else f"-{one.name}" for one in options)

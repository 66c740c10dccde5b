"""The options of the binary, as arguments of a management command."""


def add(parser, options, several="+"):
    """Adds options to a parser, in the groups that they have in the binary. Of an option that may be repeated
    ``several`` tells how many values may follow it."""
    groups = {}
    for option in options:
        title = option["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        add_one(groups[title], option, several)


def add_one(group, option, several):
    name = "--" + option["name"]
    text = (option["help"] or "").replace("%", "%%")
    if option["value"] is None:
        group.add_argument(name, action="store_true", default=None, help=text)
    elif option["repeated"]:
        group.add_argument(name, action="append", nargs=several, metavar=option["value"], help=text)
    else:
        group.add_argument(name, metavar=option["value"], help=text)

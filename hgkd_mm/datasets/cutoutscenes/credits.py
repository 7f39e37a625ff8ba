"""The list of source pictures with their licences and authors."""

from .catalogue import load_catalogue

HEAD = """# Credits

The scenes in this folder are composed from the pictures listed here: cut out, shrunk, flipped,
lit differently and pasted on each other. They are made on your machine from packages you fetched.
If you pass the scenes on, the licences below apply (share-alike ones to the scenes as well).
"""


def debian_credits() -> str:
    """Give the Markdown text of ``CREDITS.md`` for the catalogue's pictures."""
    packages, pictures = load_catalogue()
    parts = [HEAD]
    for name, package in packages.items():
        parts.append(
            f'\n## {name} {package.version}\n\nDebian package, SHA-256 `{package.sha256}`.  \n'
            f'Licence: {package.licence}. Copyright: {package.credit}.\n\n'
            '| picture | used as | licence | author | origin |\n|---|---|---|---|---|\n'
        )
        parts += [
            f'| `{p.path.rpartition("!")[2]}` | {p.role} | {p.licence or package.licence} '
            f'| {p.credit or package.credit} | {p.source} |\n'
            for p in pictures
            if p.package == name
        ]
    return ''.join(parts)


def folder_credits(name: str) -> str:
    """Give the text of ``CREDITS.md`` for a user's own pictures.

    Args:
        name: Name of the folder they come from.
    """
    return f"""# Credits

The scenes in this folder are composed from the cut-outs and photographs in the folder `{name}`
of the person who made it; that person knows their licences.
"""

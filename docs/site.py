"""Builds the documents and the reference of the public API into a site: site.py OUTPUT [REPOSITORY_URL].

Needs "dotnet tool restore" and "dotnet restore FedICU.Core.sln". A link to a file that is no page of the site leads to
REPOSITORY_URL; without one only its text stays.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ["*.md", "docs/**/*.md", "docs/**/*.svg", "benchmarks/results/**/*.md", "benchmarks/results/**/*.svg"]
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^( *```.*?^ *```)$", re.MULTILINE | re.DOTALL)


def rewrite(page: pathlib.Path, pages: set[pathlib.Path], repository: str) -> str:
    """Makes the links of a page those of the site."""
    def replace(link: re.Match[str]) -> str:
        target, _, anchor = link["target"].partition("#")
        if "://" in target or not target:
            return link.group()
        file = (page.parent / target).resolve()
        if file == ROOT / "README.md":
            return f"{link['picture']}[{link['text']}]({target.removesuffix('README.md')}index.md{'#' + anchor if anchor else ''})"
        if file == ROOT / "docs" / "adr":
            return f"[{link['text']}]({target.rstrip('/')}/index.md)"
        if file in pages:
            return link.group()
        if not repository:
            return link["text"]
        return f"[{link['text']}]({repository}/blob/main/{file.relative_to(ROOT)}{'#' + anchor if anchor else ''})"

    parts = FENCE.split(page.read_text(encoding="utf-8"))
    # every second part is a block of code
    return "".join(part if i % 2 else LINK.sub(replace, part) for i, part in enumerate(parts))


def list_decisions(pages: set[pathlib.Path]) -> str:
    decisions = sorted(page for page in pages if page.parent.name == "adr")
    titles = [page.read_text(encoding="utf-8").splitlines()[0].lstrip("# ") for page in decisions]
    return "# Decisions\n\n" + "".join(f"- [{title}]({page.name})\n" for page, title in zip(decisions, titles, strict=True))


def main(output: pathlib.Path, repository: str) -> None:
    pages = {page for pattern in PAGES for page in ROOT.glob(pattern)}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for page in pages:
            copy = work / page.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if page.suffix == ".svg":
                shutil.copy(page, copy)
            else:
                copy.write_text(rewrite(page, pages, repository), encoding="utf-8")
        (work / "README.md").rename(work / "index.md")
        (work / "docs" / "adr" / "index.md").write_text(list_decisions(pages), encoding="utf-8")
        shutil.copy(ROOT / "docs" / "toc.yml", work / "docs" / "toc.yml")
        (work / "toc.yml").write_text("- { name: Documents, href: docs/ }\n- { name: API, href: api/ }\n", encoding="utf-8")
        settings = (ROOT / "docs" / "docfx.json").read_text(encoding="utf-8").replace("SOURCE", str(ROOT / "src"))
        (work / "docfx.json").write_text(settings, encoding="utf-8")
        # the tool's manifest is found from the checkout
        command = ["dotnet", "docfx", str(work / "docfx.json"), "--warningsAsErrors", "--output", str(output.resolve())]
        sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


main(pathlib.Path(sys.argv[1]), sys.argv[2].rstrip("/") if len(sys.argv) > 2 else "")

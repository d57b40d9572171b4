"""The page of a fit: it is HTML that stands alone, its pictures are there, and its figures are those of the result."""

import base64
import html.parser
import io
import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

import lse_material as lse
from lse_material.cli import run
from lse_material.report import write_report
from tests.fit.short_fits import SHORT
from tests.materials import samples_of_material, square_to_rectangle

DATA = Path(__file__).parents[1] / "demos" / "data" / "martensite.csv"
VOID = {"meta", "link", "img"}


class Page(html.parser.HTMLParser):
    """The elements, texts by tag and pictures of a page; an element that is not closed in order is an error."""

    def __init__(self, path):
        super().__init__()
        self.open, self.texts, self.pictures, self.links = [], {}, [], []
        self.feed(path.read_text())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag == "img":
            assert known["alt"]
            kind, data = known["src"].split(",", 1)
            assert kind == "data:image/png;base64"
            self.pictures.append(matplotlib.image.imread(io.BytesIO(base64.b64decode(data, validate=True))))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    @property
    def figures(self):
        return json.loads("".join(self.texts["script"]))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A short fit of a material with groups, and its page."""
    samples = samples_of_material(square_to_rectangle(0.05), 200, seed=0)
    group = np.array(["<pull> & push", "shear"])[np.arange(200) % 2]
    samples = lse.Samples(
        F=samples.F, energy=samples.energy, stress=samples.stress, group=group, units={"energy": "MPa"}
    )
    test = samples_of_material(square_to_rectangle(0.05), 20, seed=1)
    result = lse.fit.fit(samples, kinematics=lse.GreenLagrange(2), training=SHORT, progress=False)
    path = tmp_path_factory.mktemp("report") / "cell.html"
    return result, samples, test, write_report(result, path, samples, test=test), Page(path)


def test_every_picture_is_there_and_shows_something(fitted):
    page = fitted[-1]
    assert len(page.pictures) == 10  # rows in 3 planes, energies and stresses, 3 sections and 2 curves
    for picture in page.pictures:
        assert min(picture.shape[:2]) > 300
        assert len(np.unique(picture[..., :3].reshape(-1, 3), axis=0)) > 10


def test_the_page_loads_nothing(fitted):
    assert all(link.startswith("data:") for link in fitted[-1].links)


def test_the_figures_of_the_page_are_those_of_the_result(fitted):
    result, samples, test, figures, page = fitted
    assert page.figures == json.loads(json.dumps(page.figures))
    assert page.figures["errors"]["training"] == vars(result.train_errors)
    assert page.figures["errors"]["test"] == vars(result.error(test))
    assert page.figures["transition_scale"] == result.transition_scale
    assert page.figures["warnings"][: len(result.warnings())] == result.warnings()
    pulled = samples.take(np.flatnonzero(samples.group == "<pull> & push"))
    assert page.figures["errors_by_group"]["<pull> & push"] == vars(result.error(pulled))
    box = result.material.training_box
    assert page.figures["least"] == box.lower.tolist()
    outside = ~box.holds(result.material.kinematics.strain(test.F))
    assert page.figures["test_rows_outside"] == outside.sum() == figures["test_rows_outside"]
    (land,) = page.figures["landscapes"]
    wells = lse.analysis.landscape(result.potential, box.lower, box.upper).wells
    assert [well["energy"] for well in land["wells"] if well["inside_box"]] == [well.energy for well in wells]


def test_the_tables_show_these_figures_and_names_are_no_tags(fitted):
    result, *_, page = fitted
    cells = page.texts["td"]
    assert f"{result.train_errors.energy:.3%}" in cells
    assert "group <pull> & push" in cells
    assert "passed" in cells
    assert "MPa" in "".join(page.texts["b"])


def test_a_search_for_the_number_of_modes_is_drawn(tmp_path):
    x = np.linspace(-1.0, 1.0, 40)[:, None]
    samples = lse.Samples(x=x, energy=x[:, 0] ** 2)
    auto = lse.fit.Architecture(modes="auto", max_modes=2, width=2)
    result = lse.fit.fit(samples, architecture=auto, progress=False)
    figures = write_report(result, tmp_path / "search.html", samples)
    page = Page(tmp_path / "search.html")
    assert [tuple(pair) for pair in figures["path"]] == list(result.path)
    assert len(page.pictures) == 5  # rows, energies, error and usage, and one section
    assert "number of modes" in page.texts["th"]


def test_observations_have_a_page_too(tmp_path):
    stretch = np.linspace(1.1, 2.0, 10)
    tests = lse.Observations.uniaxial(stretch, 0.4 * (stretch - stretch**-2), group=["A"] * 10)
    result = lse.fit.fit(tests, kinematics=lse.IsotropicInvariants(3), training=SHORT, progress=False)
    figures = write_report(result, tmp_path / "rubber.html", tests)
    assert figures["errors_by_group"]["A"] == vars(result.error(tests))
    assert Page(tmp_path / "rubber.html").pictures


def test_another_ending_is_refused_before_anything_is_made(fitted, tmp_path):
    with pytest.raises(lse.InvalidInputError, match=r"must end in \.html"):
        write_report(fitted[0], tmp_path / "cell.pdf", fitted[1])


def test_the_command_writes_the_page_of_its_fit(tmp_path, capsys):
    short = ["--training-restarts", "1", "--training-adam-steps", "20", "--training-lbfgs-steps", "20"]
    where = ["-o", str(tmp_path / "m.safetensors"), "--report", str(tmp_path / "m.html")]
    assert run(["fit", str(DATA), *where, *short, "--test", "0.2", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    figures = Page(tmp_path / "m.html").figures
    assert figures["errors"] == printed["errors"]
    assert figures["modes"] == printed["modes"]


def test_a_report_that_cannot_be_written_is_refused_before_the_fit(tmp_path, capsys):
    assert (
        run(["fit", str(DATA), "-o", str(tmp_path / "m.safetensors"), "--report", str(tmp_path / "no" / "m.html")]) == 3
    )
    assert "must end in .html and lie in a folder that is there" in capsys.readouterr().err
    assert not (tmp_path / "m.safetensors").exists()

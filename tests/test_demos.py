"""Demos and studies run, the long ones in their short form, and their figures are those of the physics."""

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lse_material as lse
from tests.pictures import colours

DEMOS = Path(__file__).parents[1] / "demos"
STORIES = (
    "potential_and_wells",
    "fit_a_material",
    "bain_path",
    "form_and_problem",
    "energy_under_an_operator",
    "transforming_bar",
    "hysteretic_bar",
    "memory_strip",
    "twinned_crystal",
    "inflated_actuator",
    "periodic_cell",
)
pytestmark = pytest.mark.slow


def run_demo(name, ranks, out):
    """The figures in the last line that the demo prints."""
    command = [sys.executable, str(DEMOS / name), "--quick", "--out", str(out)]
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks), *command]
    # the runs are told apart from an mpirun that this test itself may run under
    outside = ("OMPI_", "PMIX_", "PRTE_", "PMI_")
    settings = ("ALLOW_RUN_AS_ROOT", "MCA_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(outside) or any(s in k for s in settings)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment, cwd=out.parent
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 1, "the figures are printed once, by rank 0"
    assert done.stdout.splitlines()[-1] == lines[0]
    return json.loads(lines[0])


def test_demos_are_linear_scripts_of_at_most_150_lines():
    scripts = {path.stem: path.read_text() for path in DEMOS.glob("*.py")}
    assert set(STORIES) == set(scripts) - {"fit_then_simulate"}
    for name in STORIES:
        assert scripts[name].count("\n") <= 150, name
        assert scripts[name].startswith("# %% [markdown]\n# # "), name
        tree = ast.parse(scripts[name])
        assert not [node for node in tree.body if isinstance(node, ast.ClassDef)], name
    assert scripts["fit_then_simulate"].count("\n") < 120


def test_demos_and_studies_use_public_names():
    public = {"lse_material", *(f"lse_material.{name}" for name in ("analysis", "fem", "fit", "kernel", "model"))}
    for path in DEMOS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lse_material"):
                assert node.module in public, path
                names = importlib.import_module(node.module).__all__
                packages = ("analysis", "fem", "fit", "kernel", "plotting") if node.module == "lse_material" else ()
                assert {alias.name for alias in node.names} <= {*names, *packages}, path


@pytest.mark.parametrize(
    ("name", "figure", "limit"),
    [
        ("potential_and_wells", "barrier_error", 1e-10),
        ("fit_a_material", "well_error", 0.02),
        ("bain_path", "difference_error_meV", 2.0),
        ("transforming_bar", "plateau_error", 1e-3),
        ("hysteretic_bar", "plateau_error", 0.01),
        ("energy_under_an_operator", "error", 0.01),
        ("memory_strip", "slope_error", 0.02),
        ("twinned_crystal", "normal_error_deg", 1.0),
        ("inflated_actuator", "pressure_error", 1e-5),
        ("periodic_cell", "hill_mandel_error", 1e-5),
    ],
)
def test_a_demo_agrees_with_theory(name, figure, limit, tmp_path):
    assert run_demo(f"{name}.py", 1, tmp_path / "out")[figure] < limit
    assert len(colours(tmp_path / "out" / f"{name}.png")) > 10


@pytest.mark.parametrize("ranks", [1, 2])
def test_newtons_method_is_of_second_order(ranks, tmp_path):
    assert run_demo("form_and_problem.py", ranks, tmp_path / "out")["newton_order"] == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("ranks", [1, 2])
def test_fit_then_simulate(ranks, tmp_path):
    figures = run_demo("fit_then_simulate.py", ranks, tmp_path / "out")
    assert figures["active_modes"] == 2
    assert figures["test_error_energy"] < 0.02  # the data carries 1 % noise
    assert figures["test_error_stress"] < 0.02
    assert figures["route_difference"] < 1e-9
    for residuals in figures["newton_last_residuals"].values():
        first, second, _ = residuals  # the third is at the level of rounding
        assert second < first**1.8  # the order is 2: in N per mm of thickness, where the constant is near one
    assert figures["peak_reaction"] == pytest.approx(2.1422, rel=0.01)  # on a mesh twice as fine (docs/measured.md)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"martensite.safetensors", "plate.png", "plate.xdmf", "plate.h5"} <= written


def test_martensite_twins(tmp_path):
    figures = run_demo("studies/martensite_twins.py", 2, tmp_path / "out")
    assert min(abs(figures["normal_angle_deg"] - theory) for theory in (45.0, 135.0)) < 1.0
    assert abs(figures["volume_fraction"] - 0.5) < 0.02
    assert figures["negative_eigenvalues"] == figures["failures"] == 0
    assert figures["iterations"] < 150
    assert len(colours(tmp_path / "out" / "twins.png")) > 10


def test_phase_transforming_bar(tmp_path):
    figures = run_demo("studies/phase_transforming_bar.py", 1, tmp_path / "out")
    for name in ("local_stress", "plateau_stress"):
        assert abs(figures[name] - figures["maxwell_stress"]) < 1e-3
    assert abs(figures["boundary_energy_ratio"] - 1.0) < 3e-3
    assert figures["failed_steps"] == 0
    assert figures["hysteresis"] > 0.05
    assert len(colours(tmp_path / "out" / "bar.png")) > 10


def test_buckling_metamaterial_sample(tmp_path):
    figures = run_demo("studies/buckling_metamaterial/sample.py", 2, tmp_path / "out")
    samples = lse.read_samples(DEMOS / "data" / "porous_cell.npz")  # sampled on one rank
    with np.load(DEMOS / "data" / "porous_cell.states.npz") as states:
        uniaxial, order = states["path"] == 0, states["order"]
    strain, buckled = 1.0 - samples.F[uniaxial, 1, 1], order[uniaxial] != 0.0
    assert strain[~buckled][-1] < figures["critical_strain"] < strain[buckled][0]
    assert figures["plateau_stress"] == pytest.approx(samples.stress[uniaxial][-1, 1, 1], abs=1e-6)
    assert 0.0 < figures["critical_mesh_error"] < 0.02  # Galerkin's method is too stiff
    assert 0.0 < figures["plateau_mesh_error"] < 0.05
    assert figures["lost"] == 0


def test_buckling_metamaterial_fit(tmp_path):
    figures = run_demo("studies/buckling_metamaterial/fit.py", 1, tmp_path / "out")
    assert figures["energy_error"] < 0.05  # a tenth of the steps
    assert figures["stress_error"] < 0.1


def test_buckling_metamaterial_simulate(tmp_path):
    figures = run_demo("studies/buckling_metamaterial/simulate.py", 1, tmp_path / "out")
    assert figures["lse_against_cell"] < 0.02
    assert figures["lse_critical_strain"] == pytest.approx(0.0301, rel=0.03)


def test_buckling_metamaterial_compare(tmp_path):
    figures = run_demo("studies/buckling_metamaterial/compare.py", 2, tmp_path / "out")
    assert abs(figures["accounted_plateau_force_error"]) < 0.01
    assert figures["plateau_force_error"] == pytest.approx(
        1.0 / (1.0 - 0.25) - 1.0, abs=0.02
    )  # 2 x 2 cells: a quarter less
    assert figures["free_sides_in_cells"] == pytest.approx(0.5, abs=0.01)  # a ligament of four less at each side
    assert figures["dofs_ratio"] > 10.0
    assert len(colours(tmp_path / "out" / "compare.png")) > 10


def test_buckling_metamaterial_closed_loop(tmp_path):
    figures = run_demo("studies/buckling_metamaterial/closed_loop.py", 1, tmp_path / "out")
    assert abs(figures["plateau_force_error"]) < 0.02
    assert figures["share_of_the_plan"] < 1 / 3
    assert figures["cell_states"] < figures["cell_states_fe2"]
    assert figures["points_outside"][-1] == 0
    assert len(colours(tmp_path / "out" / "closed_loop.png")) > 10


def test_buckling_metamaterial_graded(tmp_path):
    figures = run_demo("studies/buckling_metamaterial/graded.py", 1, tmp_path / "out")
    assert abs(figures["plateau_force_error"]) < 0.08  # 4 x 4 cells
    assert figures["stress_error"] < 0.06
    assert figures["unknowns_resolved"] > 10 * figures["unknowns"]
    assert len(colours(tmp_path / "out" / "graded.png")) > 10


def test_snapping_chain(tmp_path):
    figures = run_demo("studies/snapping_chain/snapping_chain.py", 2, tmp_path / "out")
    assert figures["wells"] == 2
    assert figures["test_error_energy"] < 0.01
    assert figures["test_error_stress"] < 0.02
    assert figures["one_by_one"] is True
    assert abs(figures["work_error"]) < 0.05
    assert abs(figures["peak_stress_error"]) < 0.05
    for name in ("dissipated_share", "dissipated_share_fitted"):  # two rows are no soft machine: nothing jumps
        assert abs(figures[name]) < 1e-5
    assert len(colours(tmp_path / "out" / "snapping_chain.png")) > 10


def test_localising_lattice(tmp_path):
    figures = run_demo("studies/localising_lattice/localising_lattice.py", 1, tmp_path / "out")
    assert figures["cell_after_peak"] < 0.5 * figures["cell_peak"]
    assert figures["least_tangent"] < 0.0
    assert figures["mixture_least_tangent"] == pytest.approx(figures["least_tangent"], rel=0.1)
    assert min(figures["convex_least_tangent"], figures["polyconvex_least_tangent"]) > 0.0
    assert figures["mixture_error"] < 0.05
    assert figures["resolved_band"] == figures["mixture_band"] == [figures["weak_row"]]
    assert figures["convex_band"] == figures["polyconvex_band"] == []
    assert abs(figures["peak_error"]) < 0.05
    assert abs(figures["after_peak_error"]) < 0.05
    assert len(colours(tmp_path / "out" / "localising_lattice.png")) > 10


def test_a_transition_wave_through_the_snapping_chain(tmp_path):
    figures = run_demo("studies/snapping_chain/wave.py", 1, tmp_path / "out")
    assert abs(figures["front_speed_error"]) < 0.15  # long steps
    assert abs(figures["energy_error"]) < 0.03
    for name in ("arrivals", "arrivals_fitted"):  # rows snap one after another, from the plate on
        assert np.diff(figures[name]).min() > 0.0
    assert figures["cpu_ratio"] > 5.0
    assert len(colours(tmp_path / "out" / "wave.png")) > 10


def test_superelastic_damper(tmp_path):
    figures = run_demo("studies/superelastic_damper.py", 1, tmp_path / "out")
    assert figures["balance_error"] < 1e-8
    for name in ("loop_area_error", "minor_loop_area_error"):
        assert abs(figures[name]) < 0.05  # of the trapezoidal rule: 35 steps
    assert figures["minor_loop_gap"] < 1e-6  # of the largest force
    assert figures["least_dissipation"] >= 0.0
    assert 0.3 < figures["martensite"] < 0.9
    assert len(colours(tmp_path / "out" / "superelastic_damper.png")) > 10


def test_martensite_3d(tmp_path):
    figures = run_demo("studies/martensite_3d.py", 2, tmp_path / "out")
    assert figures["variants"] == 3
    assert figures["test_error_stress"] < 0.05  # the data carries 1 % noise
    assert sum(figures["phase_fractions"]) == pytest.approx(1.0, abs=1e-3)
    assert max(figures["phase_fractions"]) > 0.6  # the variant along the pull has taken over
    assert figures["lever_rule_error"] < 0.03
    assert figures["failed_steps"] == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"martensite_3d.safetensors", "martensite_3d.png", "block.xdmf", "block.h5"} <= written


def test_mechanochemistry(tmp_path):
    figures = run_demo("studies/mechanochemistry/mechanochemistry.py", 2, tmp_path / "out")
    assert figures["test_error_energy"] < 0.02
    assert figures["test_error_gradient"] < 0.02
    assert figures["active_modes"] == 3
    assert figures["mass_drift"] < 1e-12
    assert figures["particle_mass_error"] < 1e-12
    assert figures["energy_increases"] == 0
    assert figures["final_energy_difference"] < 0.02
    assert figures["phase_difference"] < 0.02
    assert len(colours(tmp_path / "out" / "mechanochemistry.png")) > 10


def test_displacement_fields(tmp_path):
    figures = run_demo("studies/displacement_fields/identify.py", 1, tmp_path / "out")
    assert figures["wells"] < 0.1  # of coarse cells
    assert figures["force"] < 0.1  # on the other plate, RMS over the largest: what the study promises
    assert len(colours(tmp_path / "out" / "displacement_fields.png")) > 10


def test_gene_circuit(tmp_path):
    figures = run_demo("studies/gene_circuit.py", 2, tmp_path / "out")
    assert figures["wells"] == figures["active_modes"] == 2
    assert figures["wells_error"] < 0.02
    assert figures["barrier_error"] < 0.15  # 600 noisy rows
    assert figures["total_variation"] < 0.09  # 40,000 samples
    assert figures["mass_drift"] < 1e-10
    assert figures["switching_rate_error"] < 0.3  # some hundred switches
    assert figures["progenitor"]["wells"] == 3
    assert len(colours(tmp_path / "out" / "gene_circuit.png")) > 10


def test_variational_inference(tmp_path):
    figures = run_demo("studies/variational_inference.py", 1, tmp_path / "out")
    for row in figures.values():
        assert row["kl"] < 0.05
        assert row["kl"] < 0.1 * row["baseline_kl"]
        assert row["modes_found"] == row["modes"]
        assert row["weight_error"] < 0.05
        assert 0.8 < row["ess"] <= 1.0
    assert len(colours(tmp_path / "out" / "variational_inference.png")) > 10

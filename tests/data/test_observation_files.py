"""Tables of mechanical tests of incompressible materials."""

import numpy as np
import pytest

from lse_material import FormatError, InvalidInputError
from lse_material.data.observation_files import read_observations
from lse_material.data.observations import Observations


def written(folder, text):
    path = folder / "rubber.csv"
    path.write_text(text)
    return path


def test_the_unit_is_that_of_the_stress_that_is_taken(tmp_path):
    text = "stretch,P [kPa],sigma [MPa]\n1.1,100,0.11\n1.2,200,0.24\n"
    read = read_observations(written(tmp_path, text), test="uniaxial")
    assert read.values.tolist() == [100.0, 200.0]
    assert read.units == {"stress": "kPa"}
    text = "lambda_x,lambda_y,P11 [kPa],sigma_y [MPa]\n1.1,1.0,100,0.11\n"
    with pytest.raises(FormatError, match=r"units \['MPa', 'kPa'\]"):
        read_observations(written(tmp_path, text))


def test_a_table_of_several_tests_gives_what_their_builders_give(tmp_path):
    text = (
        "source,test,stretch,nominal_stress_MPa\nA,uniaxial,1.1,0.1\nA,uniaxial,1.3,0.2\nB,pure shear,1.2,0.3\n"
        "A,Equi-biaxial tension,1.5,0.6\nB,planar,1.4,0.5\n"
    )
    read = read_observations(written(tmp_path, text), columns={"group": ["source", "test"]})
    built = Observations.joined(
        [
            Observations.uniaxial([1.1, 1.3], [0.1, 0.2]),
            Observations.planar([1.2, 1.4], [0.3, 0.5]),
            Observations.equibiaxial([1.5], [0.6]),
        ]
    )
    P = np.random.default_rng(0).normal(size=built.F.shape)
    np.testing.assert_array_equal(read.F, built.F)
    np.testing.assert_array_equal(read.values, built.values)
    np.testing.assert_array_equal(read.of_stress(P), built.of_stress(P))
    assert read.group.tolist() == ["A/uniaxial"] * 2 + ["B/pure shear", "B/planar", "A/Equi-biaxial tension"]
    assert read.units == {"stress": "MPa"}


@pytest.mark.parametrize(
    ("header", "row", "options"),
    [
        ("lambda,P", "1.25,0.4", {}),
        ("Stretch;Engineering stress [kPa]", "1,25;0,4", {}),
        ("engineering strain [%],nominal stress", "25,0.4", {}),
        ("engineering strain,nominal stress\n%,MPa", "25,0.4", {}),
        (
            "Tensile strain,Tensile stress\nmm/mm,MPa",
            "0.25,0.4",
            {"columns": {"H11": "tensile strain", "P11": "tensile stress"}},
        ),
        ("stretch,true stress", "1.25,0.5", {}),
        ("l,F/A", "1.25,0.4", {"columns": {"stretch1": "l", "P11": "F/A"}}),
    ],
)
def test_stretches_and_nominal_stresses_have_many_names(tmp_path, header, row, options):
    read = read_observations(written(tmp_path, f"{header}\n{row}\n"), test="uniaxial", **options)
    np.testing.assert_allclose(read.F[0, 0, 0], 1.25, rtol=1e-15)
    np.testing.assert_allclose(read.values, [0.4], rtol=1e-15)


def test_two_stretches_are_a_biaxial_test(tmp_path):
    read = read_observations(written(tmp_path, "lambda1,lambda2,P11,P22\n1.1,1.2,0.3,0.4\n1.2,1.3,0.5,\n"))
    np.testing.assert_array_equal(read.values, [0.3, 0.5, 0.4])
    np.testing.assert_allclose(np.linalg.det(read.F), 1.0, rtol=1e-14)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stretch,P\n1.1,0.1\n", 'nothing tells which test it is. Say test="uniaxial"'),
        ("stretch,stress\n1.1,0.1\n", "'stress' can be read in"),
        ("l,P\n1.1,0.1\n", "no column is a stretch.*stretch1.*H11.*engineering strain"),
        ("engineering strain,P\n10,0.1\n60,0.3\n", r"a stretch of 61\. If they are in percent"),
        ("stretch,force\n1.1,0.1\n", "no column is a nominal stress.*P11"),
        ("stretch,P\n,0.1\n1.1,0.1\n", "line 2: the stretch is missing"),
        ("stretch,P,mode\n1.2,0.1,simple tension\n1.1,0.1,biaxial\n", "line 3: 'biaxial' in the column 'mode'"),
        ("stretch,P,mode\n0.8,0.1,UC\n0.6,0.3,UC\n", "sign of 1 - stretch in every row.*-P11"),
    ],
)
def test_tables_that_tell_too_little_are_refused(tmp_path, text, message):
    with pytest.raises(FormatError, match=message):
        read_observations(written(tmp_path, text))


def test_compression_counted_positive_is_read_when_the_user_says_so(tmp_path):
    path = written(tmp_path, "strain,stress\n0.2,0.4\n0.3,0.5\n")
    read = read_observations(path, test="uniaxial", columns={"-H11": "strain", "-P11": "stress"})
    np.testing.assert_allclose(read.F[:, 0, 0], [0.8, 0.7], rtol=1e-15)
    np.testing.assert_array_equal(read.values, [-0.4, -0.5])


def test_a_test_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match=r"inflation.*one of"):
        read_observations(written(tmp_path, "stretch,P\n1.1,0.1\n"), test="inflation")

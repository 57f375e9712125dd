from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData

from nightflow.detector.master_frame import InputFile, MasterFrame, PhotonTransfer
from nightflow.errors import MissingCalibration
from nightflow.flags import Flag
from nightflow.instruments.header import FrameKind
from nightflow.masters.build import build_master
from nightflow.masters.fits_io import CorruptMaster, read_master, write_master
from tests.unit.detector.frames import Detector, make_profile


@pytest.fixture(scope="module")
def master() -> MasterFrame:
    detector = Detector()
    frames = [
        detector.frame("dark", 0, 60, gain_setting="high", readout_mode="1 MHz", ccd_temp=-20.5, detector="2")
        for _ in range(4)
    ]
    data = frames[1].data + 500
    data[3, 4] = 65000
    frames[1] = frames[1].after("light leak", data=data)
    for number, frame in enumerate(frames):
        data = frame.data.copy()
        data[5, 6] = 65000
        frames[number] = frame.after("stuck", data=data)
    inputs = [InputFile(name=f"dark {i}.fits", sha256=f"{i:064}") for i in range(4)]
    return build_master(FrameKind.DARK, frames, make_profile(), inputs=inputs)


@pytest.mark.parametrize("memmap", [False, True])
def test_what_is_written_is_read_back(master: MasterFrame, tmp_path: Path, memmap: bool) -> None:
    path = tmp_path / "masters" / "dark.fits"
    write_master(path, master)
    copy = read_master(path, memmap=memmap)
    for plane in ("data", "uncertainty", "flags"):
        np.testing.assert_array_equal(getattr(copy, plane), getattr(master, plane))
    for name in ("inputs", "fingerprint", "statistics", "history", "warnings", "label"):
        assert getattr(copy, name) == getattr(master, name)
    not_kept = {"hdu": 0, "saturation": 65535.0}
    assert copy.header == replace(master.header, **not_kept)
    assert copy.inputs[1].dropped.startswith("level")
    assert copy.flags[5, 6] == Flag.BAD


def test_pixels_are_in_the_machines_order_unless_mapped(master: MasterFrame, tmp_path: Path) -> None:
    path = tmp_path / "dark.fits"
    write_master(path, master)
    assert read_master(path).data.dtype == np.dtype("float32")
    assert read_master(path, memmap=True).data.dtype == np.dtype(">f4")


@pytest.mark.parametrize(
    "transfer",
    [
        PhotonTransfer(read_noise=4.25, read_noise_err=0.125),
        PhotonTransfer(read_noise=4.25, read_noise_err=0.125, gain=1.5, gain_err=0.25),
    ],
)
def test_what_was_measured_is_kept(master: MasterFrame, tmp_path: Path, transfer: PhotonTransfer) -> None:
    path = tmp_path / "measured.fits"
    write_master(path, replace(master, photon_transfer=transfer))
    assert read_master(path).photon_transfer == transfer
    write_master(path, master)
    assert read_master(path).photon_transfer is None


def test_unknown_time_and_temperature_stay_unknown(master: MasterFrame, tmp_path: Path) -> None:
    header = replace(master.header, mjd_mid=None, ccd_temp=None)
    write_master(tmp_path / "a.fits", replace(master, header=header))
    copy = read_master(tmp_path / "a.fits")
    assert (copy.header.mjd_mid, copy.header.ccd_temp) == (None, None)


def test_other_programs_read_it(master: MasterFrame, tmp_path: Path) -> None:
    write_master(tmp_path / "a.fits", master)
    ccd = CCDData.read(tmp_path / "a.fits")
    assert ccd.unit == u.adu
    np.testing.assert_array_equal(ccd.uncertainty.array, master.uncertainty)
    np.testing.assert_array_equal(ccd.mask, master.flags != 0)


def test_the_inputs_are_a_table(master: MasterFrame, tmp_path: Path) -> None:
    write_master(tmp_path / "a.fits", master)
    table = fits.getdata(tmp_path / "a.fits", "INPUTS")
    assert table["name"].tolist() == [f"dark {i}.fits" for i in range(4)]
    assert table["sha256"].tolist() == [f"{i:064}" for i in range(4)]


def test_hostile_names_become_text(master: MasterFrame, tmp_path: Path) -> None:
    inputs = (InputFile(name="../../etc/ü\n\x00; DROP", sha256="0" * 64),)
    header = replace(master.header, filter="V\n'é", readout_mode="x" * 200)
    write_master(tmp_path / "a.fits", replace(master, inputs=inputs, header=header))
    copy = read_master(tmp_path / "a.fits")
    assert copy.inputs[0].name == "../../etc/???; DROP"
    assert copy.header.filter == "V?'?"
    assert copy.header.readout_mode == "x" * 200


def test_a_second_writing_replaces_and_leaves_nothing_behind(master: MasterFrame, tmp_path: Path) -> None:
    for _ in range(2):
        write_master(tmp_path / "a.fits", master)
    assert [file.name for file in tmp_path.iterdir()] == ["a.fits"]


def test_a_failed_writing_leaves_the_old_file(
    master: MasterFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_master(tmp_path / "a.fits", master)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", full)
    with pytest.raises(OSError, match="No space"):
        write_master(tmp_path / "a.fits", master)
    assert [file.name for file in tmp_path.iterdir()] == ["a.fits"]
    assert read_master(tmp_path / "a.fits").fingerprint == master.fingerprint


@pytest.mark.parametrize("keep", [0, 10, 2000, 2880, 20000, 60000, 0.5, 0.999])
def test_a_truncated_file_is_named(master: MasterFrame, tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.fits"
    write_master(path, master)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(CorruptMaster, match=r"a\.fits: not a readable master: .*; delete it"):
        read_master(path)


@pytest.mark.parametrize("where", [8000, 20000, 65000, 100000])
def test_a_flipped_byte_is_found(master: MasterFrame, tmp_path: Path, where: int) -> None:
    path = tmp_path / "a.fits"
    write_master(path, master)
    content = bytearray(path.read_bytes())
    content[where] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(CorruptMaster, match=r"a\.fits"):
        read_master(path)


def test_any_other_fits_file_is_no_master(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.ones((4, 4), np.float32)).writeto(tmp_path / "a.fits")
    with pytest.raises(CorruptMaster, match="NFFORMAT"):
        read_master(tmp_path / "a.fits")
    assert issubclass(CorruptMaster, MissingCalibration)


def test_an_absent_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such master"):
        read_master(tmp_path / "a.fits")

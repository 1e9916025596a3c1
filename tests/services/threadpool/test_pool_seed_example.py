"""The example that the older library was shown by: a folder, copied to many hosts.

`CRemote` is as it was published, but for `remote` and `lscp`, which knew ssh: a host is
a folder here, so `dst` is relative to it.
"""
# It is written as it was:
# ruff: noqa: F523, PLR0917, PTH108, PTH119, UP004, UP024, UP030, UP032

import os
import shutil
import subprocess
import tarfile
import time

import pytest

from cup import log, net
from cup.services import generator, threadpool

HOSTS = [f"host{number}" for number in range(12)]
GOOD = {"exitstatus": 0, "remote_exitstatus": 0}


class CRemote(object):
    """
    handle remote things
    """

    def __init__(self, username, password, retry=0):
        self._username = username
        self._passwd = password
        self._wget_retry = retry
        self._thdpool = threadpool.ThreadPool(minthreads=2, maxthreads=4)
        self._generator = generator.CGeneratorMan()

    def _thread_scp_dir_by_tarfile(self, hostname, dst, tarpath, ret_list, timeout):
        """
        do sth in a thread
        """
        if os.path.normpath(dst) == "/":
            raise IOError("You CANNOT delete root /")
        tarfile_name = os.path.basename(tarpath)
        log.info("to mkdir in case it does not exists:{0}".format(dst))
        cmd = "mkdir -p {0};".format(dst, dst)
        ret = self.remote(hostname, cmd, 10)
        ret["hostname"] = hostname
        if ret["exitstatus"] != 0 or ret["remote_exitstatus"] != 0:
            log.critical("mkdir dst failed, error info:{0}".format(ret))
            ret_list.append(ret)
            return
        log.info("scp_dir_by_tarfile, src tarfile:{0} dst:{1}".format(tarpath, dst))
        ret = self.lscp(tarpath, hostname, dst)
        ret["hostname"] = hostname
        if ret["exitstatus"] != 0 or ret["remote_exitstatus"] != 0:
            log.critical("lscp failed, error info:{0}".format(ret))
            ret_list.append(ret)
        else:
            cmd = "cd {0}; tar zxf {1}; rm -f {2}".format(
                dst, tarfile_name, tarfile_name
            )
            ret = self.remote(hostname, cmd, timeout=timeout)
            ret["hostname"] = hostname
            ret_list.append(ret)
            log.info("succeed to scp dir, hostname:{0}".format(hostname))
        return

    def scp_hosts_dir_by_tarfile(
        self, src, hosts, dst, tempfolder, tarfile_name=None, timeout=600
    ):
        """
        scp a folder to multiple hosts
        :hosts:
            hosts that will be scped
        :tempfolder:
            temp folder which will store tar file temporarily.
        """
        src = os.path.normpath(src)
        if tarfile_name is None:
            tarfile_name = "{0}.{1}.tar.gz".format(
                net.get_local_hostname(), time.time()
            )
        src_folder_name = os.path.basename(src)
        name = "{0}/{1}".format(tempfolder, tarfile_name)
        log.info("to compress folder into tarfile:{0}".format(name))
        with tarfile.open(tempfolder + "/" + tarfile_name, "w:gz") as tar:
            tar.add(src, src_folder_name)
        ret_list = []
        self._thdpool.start()
        for hostname in hosts:
            self._thdpool.add_1job(
                self._thread_scp_dir_by_tarfile, hostname, dst, name, ret_list, timeout
            )
        time.sleep(0.02)  # 2 there
        self._thdpool.stop()
        os.unlink(name)
        return ret_list


class LocalHosts(CRemote):
    """The hosts, as folders."""

    def __init__(self, root):
        super().__init__("somebody", "secret")
        self._root = root

    def remote(self, hostname, cmd, timeout):
        done = subprocess.run(
            cmd, shell=True, cwd=self._root / hostname, timeout=timeout, check=False
        )
        return {"exitstatus": 0, "remote_exitstatus": done.returncode}

    def lscp(self, tarpath, hostname, dst):
        shutil.copy(tarpath, self._root / hostname / dst)
        return {"exitstatus": 0, "remote_exitstatus": 0}


def content(folder):
    """Give each file of a folder with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "release"
    for number in range(20):
        path = folder / f"part{number % 3}" / f"file{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1000 * number))
    return folder


@pytest.fixture
def temp(tmp_path):
    (tmp_path / "temp").mkdir()
    return tmp_path / "temp"


@pytest.fixture
def root(tmp_path):
    for host in HOSTS:
        (tmp_path / "hosts" / host).mkdir(parents=True)
    return tmp_path / "hosts"


def assert_distributed(source, root, hosts, results, dst="data/work"):
    assert sorted(result["hostname"] for result in results) == sorted(hosts)
    assert all(GOOD.items() <= result.items() for result in results)
    for host in hosts:
        arrived = content(root / host / dst)
        assert arrived == {f"release/{k}": v for k, v in content(source).items()}


pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs mkdir -p, tar, rm")


def test_a_folder_arrives_at_every_host(source, temp, root, caplog):
    caplog.set_level(log.INFO)
    remote = LocalHosts(root)
    results = remote.scp_hosts_dir_by_tarfile(
        str(source), HOSTS, "data/work", str(temp)
    )
    assert_distributed(source, root, HOSTS, results)
    assert list(temp.iterdir()) == []
    told = [r for r in caplog.records if r.message.startswith("succeed to scp dir")]
    assert len(told) == len(HOSTS)
    assert not {r.threadName for r in told} & {"MainThread"}


def test_again_after_stop(source, temp, root):
    remote = LocalHosts(root)
    for edition in range(3):
        (source / "edition").write_text(str(edition))
        results = remote.scp_hosts_dir_by_tarfile(
            str(source), HOSTS, "data/work", str(temp)
        )
        assert_distributed(source, root, HOSTS, results)


def test_the_root_as_destination_fails_alone_and_is_reported(
    source, temp, root, caplog
):
    remote = LocalHosts(root)
    refused = []
    remote._thdpool.add_1job(  # queued until the pool is started
        remote._thread_scp_dir_by_tarfile, "host0", "/", "none", refused, 600
    )
    results = remote.scp_hosts_dir_by_tarfile(
        str(source), HOSTS, "data/work", str(temp)
    )
    assert_distributed(source, root, HOSTS, results)
    assert refused == []
    [report] = [r for r in caplog.records if r.levelno >= log.ERROR]
    assert report.name == "cup.threadpool"
    assert "You CANNOT delete root /" in str(report.exc_info[1])


def test_a_broken_host_is_told_in_the_results(source, temp, root, caplog):
    (root / "host3" / "data").write_text("in the way: no folder can be made")
    results = LocalHosts(root).scp_hosts_dir_by_tarfile(
        str(source), HOSTS, "data/work", str(temp)
    )
    [broken] = [r for r in results if r["remote_exitstatus"] != 0]
    assert broken["hostname"] == "host3"
    results.remove(broken)
    others = [host for host in HOSTS if host != "host3"]
    assert_distributed(source, root, others, results)
    assert "mkdir dst failed" in caplog.text


def test_every_host_at_the_root_reports_each(source, temp, root, caplog):
    results = LocalHosts(root).scp_hosts_dir_by_tarfile(
        str(source), HOSTS, "/", str(temp)
    )
    assert results == []
    reports = [str(r.exc_info[1]) for r in caplog.records if r.levelno >= log.ERROR]
    assert reports == ["You CANNOT delete root /"] * len(HOSTS)

"""The servers of a key, which a tracker knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.devices.linker import linker
from harness.devices.servers.tracker import TRACKER_VARIABLE, Servers, Tracker, TrackerLost
from harness.errors import CellFailure, did_you_mean
from harness.executors.executor import CheckMemory, Executor, Verify
from harness.specs.target import DeviceKind, TargetSpec

if TYPE_CHECKING:
    from harness.building.network import Scrutiny
    from harness.measure.group import Group, GroupSettings
    from harness.tuning.measurers.local import Measurer


class ServersOfKey(Executor):
    """Processors of other machines. An Arm board without a server is emulated."""

    kind = "measured"
    compiles_on_clusters = True
    ability = "run it on a server"

    @classmethod
    def instead(cls, target: TargetSpec, servers: Servers | None) -> DeviceKind | None:
        """A tracker that does not answer is no reason to take another device than the one that was
        meant: `require` says so."""
        if target.architecture != "arm":
            return None
        try:
            served = servers is not None and target.device.key in _known_keys(servers)
        except TrackerLost:
            served = True
        return None if served else "emulated"

    def require(self) -> None:
        key, name = self.target.device.key, self.target.name
        if key is None:
            raise CellFailure(
                f"target '{name}' is on a device of kind 'rpc', which takes the key of its "
                "servers: device: {kind: rpc, key: KEY}"
            )
        if self.servers is None:
            raise CellFailure(
                f"target '{name}' runs on the servers of '{key}', and no tracker is named; name "
                f"the one that knows them with --tracker HOST:PORT or {TRACKER_VARIABLE}"
            )
        linker(self.target.tvm.mtriple)
        try:
            known = _known_keys(self.servers)
        except TrackerLost as error:
            raise CellFailure(str(error)) from None
        tracker = self.servers.tracker
        if key not in known:
            raise CellFailure(
                f"the tracker at {tracker} has no server of '{key}'{did_you_mean(key, known)}; "
                f"start one: layeredge devices serve {key} --tracker {tracker}"
            )

    def measurer(self, threads: int, footprint: float, folder: Path) -> Measurer:
        from harness.compiler.api import target_of
        from harness.tuning.cluster.connection import BuildCluster
        from harness.tuning.servers.measurer import RemoteMeasurer

        assert self.target.device.key is not None and self.servers is not None
        address, tvm = self.servers.build_cluster, self.target.tvm
        cluster = BuildCluster(address, [tvm.mtriple]) if address is not None else None
        target = target_of(tvm.as_tvm())
        return RemoteMeasurer(
            target, self.target.device.key, self.servers, threads, cluster=cluster
        )

    def runs_here(self) -> str:
        return "no: on servers of its key"

    def group(self, settings: GroupSettings) -> Group:
        from harness.measure.remote import ServerGroup

        assert self.servers is not None
        return ServerGroup(self.servers, self.target, settings)

    def scrutiny(self, check_memory: CheckMemory, verify: Verify) -> Scrutiny:
        from harness.building.network import Scrutiny

        return Scrutiny(self.target.hardware.multiprocessor, unsafe=check_memory(False))


def _known_keys(servers: Servers) -> frozenset[str]:
    """The keys that have a server. Raises TrackerLost."""
    with Tracker(servers.tracker) as tracker:
        return frozenset(server.key for server in tracker.servers())


EXECUTORS = {"llvm": ServersOfKey}

"""The protocol layer in one place: what services promise, without what does it.

Write functions against these, and they take any face of a service, or your own stand-in
in a test. Each service's own `api` module has the same names.
"""

from cup.services.buffers.api import AsyncBufferPoolAPI, BufferPoolAPI
from cup.services.executor.api import AsyncExecutorAPI, ExecutorAPI, JobStore
from cup.services.generator.api import (
    AsyncGeneratorManAPI,
    AsyncIDGenerator,
    AsyncWorkerAPI,
    GeneratorManAPI,
    IDGenerator,
    WorkerAPI,
)
from cup.services.heartbeat.api import (
    AsyncEventsAPI,
    AsyncHeartbeatAPI,
    EventsAPI,
    HeartbeatAPI,
)
from cup.services.heartbeat.api_net import (
    AgentAPI,
    AsyncAgentAPI,
    AsyncMonitorAPI,
    MonitorAPI,
)
from cup.services.serializer.api import (
    AsyncLogAPI,
    AsyncReaderAPI,
    AsyncTicketAPI,
    LogAPI,
    ReaderAPI,
    TicketAPI,
)
from cup.services.serializer.api_meta import AsyncMetaStoreAPI, MetaStoreAPI
from cup.services.threadpool.api import AsyncThreadPoolAPI, ThreadPoolAPI
from cup.thread.api import AsyncRWLockAPI, RWLockAPI

__all__ = [
    "AgentAPI",
    "AsyncAgentAPI",
    "AsyncBufferPoolAPI",
    "AsyncEventsAPI",
    "AsyncExecutorAPI",
    "AsyncGeneratorManAPI",
    "AsyncHeartbeatAPI",
    "AsyncIDGenerator",
    "AsyncLogAPI",
    "AsyncMetaStoreAPI",
    "AsyncMonitorAPI",
    "AsyncRWLockAPI",
    "AsyncReaderAPI",
    "AsyncThreadPoolAPI",
    "AsyncTicketAPI",
    "AsyncWorkerAPI",
    "BufferPoolAPI",
    "EventsAPI",
    "ExecutorAPI",
    "GeneratorManAPI",
    "HeartbeatAPI",
    "IDGenerator",
    "JobStore",
    "LogAPI",
    "MetaStoreAPI",
    "MonitorAPI",
    "RWLockAPI",
    "ReaderAPI",
    "ThreadPoolAPI",
    "TicketAPI",
    "WorkerAPI",
]

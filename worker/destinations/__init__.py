"""The one list of destination kinds: settings, queues, the command line and the shared tests derive from it."""

from worker.destinations.base import Destination
from worker.destinations.criteo import Criteo
from worker.destinations.http import Http
from worker.destinations.stackadapt import StackAdapt
from worker.destinations.taboola import Taboola

REGISTRY: dict[str, type[Destination]] = {
    "criteo": Criteo,
    "taboola": Taboola,
    "stackadapt": StackAdapt,
    "http": Http,
}

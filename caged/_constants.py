"""The constants of the SDK. Durations are in seconds."""

DEFAULT_BASE_URL = "https://api.caged.dev"
API_PREFIX = "/v1"
ENV_API_KEY = "CAGED_API_KEY"
ENV_BASE_URL = "CAGED_BASE_URL"

DEFAULT_TIMEOUT = 30.0
CREATE_TIMEOUT = 360.0  # create answers after clone, packages and init_script: minutes, not seconds
EXEC_TIMEOUT = 300.0
LONGEST_TIMEOUT = 1_000_000.0  # 11 days; sockets overflow somewhere above, "no limit" is spelled None

DEFAULT_MAX_RETRIES = 2
RETRY_STATUSES = frozenset({429, 502, 503, 504})
BACKOFF_FIRST = 0.5  # upper bound of the first delay; doubles with every retry, drawn with full jitter
BACKOFF_LONGEST = 8.0
RETRY_AFTER_LONGEST = 60.0  # no retry after a longer Retry-After; the error is raised

SNAPSHOT_WAIT_TIMEOUT = 60.0
SNAPSHOT_POLL_FIRST = 0.05
SNAPSHOT_POLL_LONGEST = 1.0
#: For a sandbox's status or port: seconds between two requests, at first and at most.
SANDBOX_POLL_FIRST = 0.05
SANDBOX_POLL_LONGEST = 0.5
#: Seconds that `wait_for_port` and `wait_until` wait unless they are given another time.
PORT_WAIT_TIMEOUT = 30.0
STATUS_WAIT_TIMEOUT = 60.0

# httpx's default is 100 connections, after which calls fail with a pool timeout; many long execs at once are normal.
MAX_CONNECTIONS = 1000
MAX_KEEPALIVE_CONNECTIONS = 100

LARGEST_EVENT_BATCH = 1000  # of events.ingest; the server's limit

# The libraries' default, 1 MiB, makes the client hang up on a server that sends more at once.
LARGEST_MESSAGE = 64 * 1024 * 1024
# Characters of input per message: all of them escaped, it still stays below the 1 MiB that servers take.
LARGEST_INPUT = 64 * 1024
SOCKET_PING_INTERVAL = 20.0
SOCKET_PING_TIMEOUT = 20.0
SOCKET_CLOSE_TIMEOUT = 2.0  # the longest wait for the server's close frame
# How long the digits of an exit code may stay without the line break that ends them.
EXIT_CODE_PATIENCE = 1.0
# Characters of a terminal's output that are kept until it is read.
UNHEARD_OUTPUT = 1024 * 1024

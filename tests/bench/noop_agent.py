"""An agent that does nothing: `noop_agent.py`. The same without a swarm, fed through a socket that it
inherited: `noop_agent.py FD`."""

import socket
import sys

if len(sys.argv) > 1:
    link = socket.socket(fileno=int(sys.argv[1]))
    while request := link.recv(64):
        link.send(request)
else:
    import microswarm

    agent = microswarm.Agent()

    @agent.on("py.noop")
    def noop(task):
        pass

    agent.run()

package guestinit

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"time"

	"tandem/guest/agent"
	"tandem/guest/config"
)

// agentCgroup is where commands of the host run.
const agentCgroup = cgroupRoot + "/tandem"

// reopenInterval is the least time between two tries to open the port, for one that fails at once.
const reopenInterval = time.Second

// runAgent serves one session after another.
func (p *pid1) runAgent(a *config.Agent) error {
	server := &agent.Server{Env: p.env, Processes: p.processes, End: p.endFor, Ending: p.ending.Load, StepClock: stepClock}
	if mountedAs(cgroupRoot, "cgroup2") {
		server.Cgroup = agentCgroup
	}
	for {
		again := time.After(reopenInterval)
		port, err := waitPort(a)
		if err != nil {
			return err
		}
		err = server.Serve(context.Background(), port)
		switch {
		case errors.Is(err, agent.ErrNoClient):
		case err != nil:
			report("%v", err)
			fallthrough
		default:
			if action := cmp.Or(a.OnDisconnect, config.Stay); action != config.Stay {
				p.end(action)
				return nil
			}
		}
		<-again
	}
}

// endFor ends the machine for the agent's client, whose answer is on its way meanwhile.
func (p *pid1) endFor(a agent.Action) error {
	action := config.PowerOff
	if a == agent.Reboot {
		action = config.Reboot
	}
	if !p.end(action) {
		return agent.ErrEnding
	}
	return nil
}

// waitPort opens the port, when there is one.
func waitPort(a *config.Agent) (io.ReadWriteCloser, error) {
	events, err := listenUevents()
	if err != nil {
		return nil, err
	}
	defer events.Close()
	var last string
	for {
		port, err := openPort(a)
		if err == nil {
			return port, nil
		}
		if text := err.Error(); text != last && !errors.Is(err, errNoPort) {
			report("agent: %v", err)
			last = text
		}
		if err := waitUevent(events); err != nil {
			return nil, err
		}
	}
}

func openPort(a *config.Agent) (io.ReadWriteCloser, error) {
	if port, ok := a.Vsock(); ok {
		return connectHost(port)
	}
	name := a.Port
	if strings.Contains(name, "/") {
		return openLine(name)
	}
	device, err := findVirtioPort("/sys/class/virtio-ports", name)
	if err != nil {
		return nil, err
	}
	return openVirtioPort(filepath.Join("/dev", device))
}

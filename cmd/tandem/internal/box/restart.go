package box

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/process"
)

// RestartPolicy says when a box's keeper starts it anew. There is no daemon that would start it after a reboot.
type RestartPolicy struct {
	Name string `json:"name,omitempty"` // empty is never; else one of those below
	Max  int    `json:"max,omitempty"`  // how often, of RestartOnFailure; 0 is without end
}

// The names of policies. The last two mean the same where no daemon is: whoever is stopped stays so.
const (
	RestartOnFailure     = "on-failure"
	RestartAlways        = "always"
	RestartUnlessStopped = "unless-stopped"
)

// ParseRestart reads the value of --restart.
func ParseRestart(text string) (RestartPolicy, error) {
	name, limit, given := strings.Cut(text, ":")
	p := RestartPolicy{Name: name}
	switch {
	case given && name == RestartOnFailure:
		n, err := strconv.Atoi(limit)
		if err != nil || n < 0 {
			return p, wrong("--restart %q: want on-failure:NUMBER", text)
		}
		p.Max = n
		return p, nil
	case given:
	case name == "no" || name == "":
		return RestartPolicy{}, nil
	case name == RestartOnFailure || name == RestartAlways || name == RestartUnlessStopped:
		return p, nil
	}
	return p, wrong("--restart %q: want no, on-failure[:NUMBER], always or unless-stopped", text)
}

func (p RestartPolicy) String() string {
	switch {
	case p.Name == "":
		return "no"
	case p.Max != 0:
		return p.Name + ":" + strconv.Itoa(p.Max)
	}
	return p.Name
}

// again tells whether a box that ended so, and was started anew so often, is started once more.
func (p RestartPolicy) again(status, restarts int) bool {
	switch p.Name {
	case RestartAlways, RestartUnlessStopped:
		return true
	case RestartOnFailure:
		return status != 0 && (p.Max == 0 || restarts < p.Max)
	}
	return false
}

// Docker's: the pause before a start is twice the one before, and short again for a box that ran for some time.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = time.Minute
	stable     = 10 * time.Second
)

func nextPause(last, ran time.Duration) time.Duration {
	if last == 0 || ran > stable {
		return firstPause
	}
	return min(2*last, maxPause)
}

// stopFile is there from the moment that somebody wants the box to end, and stay so.
const stopFile = "stop"

// stayEnded keeps the box's keeper from starting it anew.
func (r *Record) stayEnded() error {
	if r.Options.Restart.Name == "" {
		return nil
	}
	return r.putStop()
}

func (r *Record) putStop() error {
	f, err := os.OpenFile(r.file(stopFile), os.O_WRONLY|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the box is gone
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// staysEnded tells what putStop said.
func (r *Record) staysEnded() bool {
	_, err := os.Stat(r.file(stopFile))
	return err == nil
}

// wakeKeeper ends the pause before a box is started anew.
func (r *Record) wakeKeeper() error {
	if r.Options.Restart.Name == "" {
		return nil
	}
	return r.signalKeeper()
}

// signalKeeper asks the keeper to end the box, or what it does to make it.
func (r *Record) signalKeeper() error {
	fd, err := r.Keeper.Open()
	if err == nil {
		defer fd.Close()
		err = process.Signal(fd, unix.SIGTERM)
	}
	if errors.Is(err, process.ErrGone) {
		return nil
	}
	return err
}

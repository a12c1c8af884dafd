package config

import (
	"fmt"
	"path"
	"strings"
)

// Validate checks every value; an error names the key as the document spells it.
func (c *Config) Validate() error {
	checks := []error{
		checkHostname(c.Hostname),
		checkLengths(c),
	}
	for i, pair := range c.Env {
		checks = append(checks, checkEnv(fmt.Sprintf("env[%d]", i), pair))
	}
	for i, m := range c.Modules {
		at := fmt.Sprintf("modules[%d]", i)
		checks = append(checks, checkPath(at+".path", m.Path), checkText(at+".options", m.Options))
	}
	if c.Root != nil {
		checks = append(checks, c.Root.validate())
	}
	for i, m := range c.Mounts {
		checks = append(checks, m.validate(fmt.Sprintf("mounts[%d]", i)))
	}
	if c.Agent != nil {
		checks = append(checks, c.Agent.validate())
	}
	if c.Console != nil {
		checks = append(checks, c.Console.validate())
	}
	return first(checks...)
}

func (r *Root) validate() error {
	return first(
		checkFilled("root.tag", r.Tag),
		checkText("root.options", r.Options),
		checkNoComma("root.upper_size", r.UpperSize),
	)
}

func (m *Mount) validate(at string) error {
	return first(
		checkFilled(at+".source", m.Source),
		checkPath(at+".target", m.Target),
		checkFilled(at+".type", m.Type),
		checkText(at+".options", m.Options),
	)
}

func (a *Agent) validate() error {
	err := checkFilled("agent.port", a.Port)
	if _, ok := a.Vsock(); err == nil && strings.HasPrefix(a.Port, vsockPrefix) && !ok {
		err = invalid("agent.port", a.Port, "has no port of 32 bits behind vsock:")
	}
	if err == nil && strings.Contains(a.Port, "/") {
		err = checkPath("agent.port", a.Port)
	}
	return first(err, checkAction("agent.on_disconnect", a.OnDisconnect))
}

func (c *Console) validate() error {
	var checks []error
	if len(c.Command) == 0 {
		return invalid("console.command", c.Command, "names no program")
	}
	for i, arg := range c.Command {
		checks = append(checks, checkText(fmt.Sprintf("console.command[%d]", i), arg))
	}
	checks = append(checks, checkFilled("console.command[0]", c.Command[0]))
	if c.Device != "" {
		checks = append(checks, checkPath("console.device", c.Device))
	}
	return first(append(checks, checkAction("console.on_exit", c.OnExit))...)
}

func checkHostname(name string) error {
	if len(name) > maxHostname {
		return invalid("hostname", name, "is longer than %d bytes", maxHostname)
	}
	// RFC 1123, 2.1; it is written into /etc/hosts, where a space would begin another name.
	for _, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '-' && r != '.' {
			return invalid("hostname", name, "holds %q", r)
		}
	}
	return nil
}

func checkLengths(c *Config) error {
	for _, list := range []struct {
		key    string
		length int
	}{{"env", len(c.Env)}, {"modules", len(c.Modules)}, {"mounts", len(c.Mounts)}} {
		if list.length > maxList {
			return invalid(list.key, list.length, "entries, at most %d are read", maxList)
		}
	}
	return nil
}

func checkEnv(key, pair string) error {
	if name, _, ok := strings.Cut(pair, "="); !ok || name == "" {
		return invalid(key, pair, "is not KEY=VALUE")
	}
	return checkText(key, pair)
}

func checkPath(key, value string) error {
	if !path.IsAbs(value) {
		return invalid(key, value, "is not an absolute path")
	}
	return checkText(key, value)
}

func checkFilled(key, value string) error {
	if value == "" {
		return invalid(key, value, "is empty")
	}
	return checkText(key, value)
}

func checkNoComma(key, value string) error {
	if strings.Contains(value, ",") {
		return invalid(key, value, "holds a comma")
	}
	return checkText(key, value)
}

// checkText refuses the one byte that no system call's string can hold.
func checkText(key, value string) error {
	if strings.ContainsRune(value, 0) {
		return invalid(key, value, "holds a zero byte")
	}
	return nil
}

func checkAction(key string, a Action) error {
	switch a {
	case "", PowerOff, Reboot, Stay:
		return nil
	}
	return invalid(key, a, "is none of %s, %s, %s", PowerOff, Reboot, Stay)
}

func invalid(key string, value any, format string, args ...any) error {
	if s, ok := value.(string); ok {
		value = fmt.Sprintf("%q", s)
	}
	return fmt.Errorf("%w: %s: %v %s", ErrInvalid, key, value, fmt.Sprintf(format, args...))
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

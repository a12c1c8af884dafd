package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tandem/container"
)

func newStateCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "state ID",
		Short: "Print a container's state, as JSON",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load(args[0])
			if err != nil {
				return err
			}
			s, err := stateOf(c)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), s)
		},
	}
}

// state is the specification's ("State"), with the fields that runc adds to it.
type state struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	PID         int               `json:"pid"` // 0 once it has stopped
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

func stateOf(c *container.Container) (*state, error) {
	now, err := c.State()
	if err != nil {
		return nil, err
	}
	return &state{
		Version: now.Version, ID: now.ID, PID: now.Pid, Status: string(now.Status),
		Bundle: now.Bundle, Annotations: now.Annotations,
		Rootfs: c.Rootfs(), Created: c.Created(), Owner: userName(c.Owner()),
	}, nil
}

// userName names a user, or gives the number of one without a name.
func userName(uid int) string {
	if uid == 0 {
		return "root" // without a look at /etc/passwd: callers ask for the state all the time
	}
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "#" + id
}

func printJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}

package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

// publishedPort is one port of a container's, and what leads to it.
type publishedPort struct {
	Port     uint16     `json:"port"`
	Protocol string     `json:"protocol"`
	HostIP   netip.Addr `json:"hostIP"`
	HostPort uint16     `json:"hostPort"`
}

func (p publishedPort) box() string { return fmt.Sprintf("%d/%s", p.Port, p.Protocol) }

func (p publishedPort) host() string { return netip.AddrPortFrom(p.HostIP, p.HostPort).String() }

func newPortCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "port [flags] CONTAINER [PORT[/PROTOCOL]]",
		Short:   "Print which ports of the host lead to a container",
		Long:    "Prints the published ports of a container, or where one of its ports is published.",
		Example: "  tandem port web\n  tandem port web 80",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return exactly("container")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := oneBox(args[0])
			if err != nil {
				return err
			}
			list := publishedPorts(r)
			if len(args) == 2 {
				if list, err = onlyPort(list, args[1]); err != nil {
					return fmt.Errorf("port: %s: %w", r.Name, err)
				}
			}
			switch {
			case asJSON:
				return printJSON(cmd.OutOrStdout(), list)
			case len(args) == 2:
				for _, p := range list {
					fmt.Fprintln(cmd.OutOrStdout(), p.host())
				}
			default:
				for _, p := range list {
					fmt.Fprintf(cmd.OutOrStdout(), "%s -> %s\n", p.box(), p.host())
				}
			}
			return nil
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func publishedPorts(r *box.Record) []publishedPort {
	list := []publishedPort{}
	if r.Network == nil {
		return list
	}
	for _, m := range r.Network.Ports {
		for i := range max(m.Count, 1) {
			for _, a := range m.Listens() {
				list = append(list, publishedPort{m.BoxPort + i, string(m.Protocol), a, m.HostPort + i})
			}
		}
	}
	return list
}

func onlyPort(list []publishedPort, word string) ([]publishedPort, error) {
	number, protocol, given := strings.Cut(word, "/")
	if !given {
		protocol = "tcp"
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return nil, fmt.Errorf("%q is no port: want PORT or PORT/PROTOCOL", word)
	}
	found := []publishedPort{}
	for _, p := range list {
		if uint64(p.Port) == n && p.Protocol == protocol {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("port %d/%s is not published", n, protocol)
	}
	return found, nil
}

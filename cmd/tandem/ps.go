package main

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
	"tandem/network/port"
)

func newPsCommand() *cobra.Command {
	var f psFlags
	var quiet, full, size, asJSON bool
	as := formatFlag{heading: psHeading, usual: psTable}
	cmd := &cobra.Command{
		Use:   "ps [flags]",
		Short: "List containers",
		Long: "Lists the containers that run, with --all also those that have ended.\n" +
			"A container is dead when the process that kept it was killed: its exit status is lost (see tandem system gc).",
		Example: "  tandem ps -a\n  tandem ps -f status=exited -f name=web\n  tandem ps -q | xargs -r tandem stop\n" +
			"  tandem ps --format 'table {{.Names}}\\t{{.Status}}'\n  tandem ps --json | jq -r '.[].name'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if size {
				as.usual += `\t{{.Size}}`
			}
			format, err := as.parse()
			if err != nil {
				return err
			}
			home, err := box.Open()
			if err != nil {
				return err
			}
			list, listErr := home.List()
			shown, err := f.choose(list)
			if err != nil {
				return err
			}
			switch {
			case asJSON:
				err = printJSON(cmd.OutOrStdout(), shown)
			case quiet:
				for _, l := range shown {
					fmt.Fprintln(cmd.OutOrStdout(), l.id(full))
				}
			default:
				err = printRows(cmd.OutOrStdout(), format, shown, full)
			}
			if listErr != nil {
				return listErr
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&f.all, "all", "a", false, "those that have ended too")
	cmd.Flags().StringArrayVarP(&f.filters, "filter", "f", nil, "those alone for which `NAME=VALUE` holds: "+psFilters)
	cmd.Flags().IntVarP(&f.last, "last", "n", -1, "the `NUMBER` that were made last, those that have ended too")
	cmd.Flags().BoolVarP(&f.latest, "latest", "l", false, "the one that was made last")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print IDs alone")
	cmd.Flags().BoolVar(&full, "no-trunc", false, "print IDs and commands in full")
	cmd.Flags().BoolVarP(&size, "size", "s", false, "print how much each has written to its files")
	as.register(cmd.Flags(), psFormatNames)
	addJSONFlag(cmd, &asJSON)
	cmd.MarkFlagsMutuallyExclusive("format", "json")
	return cmd
}

// psFlags say which containers are listed.
type psFlags struct {
	all, latest bool
	last        int // negative is any number
	filters     []string
}

// choose takes containers as they come, the newest first.
func (f psFlags) choose(list []*box.Record) ([]listed, error) {
	last, ended := f.last, f.all
	if f.latest {
		last = 1
	}
	for _, text := range f.filters { // who asks for those that have ended wants to see them
		ended = ended || strings.HasPrefix(text, "status=") || strings.HasPrefix(text, "exited=")
	}
	shown := []listed{}
	if _, err := (listed{Record: &box.Record{}}).matches(f.filters); err != nil { // there may be none to try them on
		return nil, err
	}
	for _, r := range list {
		l := listed{r, r.Status()}
		ok, err := l.matches(f.filters)
		switch {
		case err != nil:
			return nil, err
		case ok && (ended || last >= 0 || l.alive()):
			shown = append(shown, l)
		}
	}
	if last >= 0 {
		shown = shown[:min(last, len(shown))]
	}
	return shown, nil
}

// alive tells whether somebody looks after a container.
func (l listed) alive() bool {
	switch l.status {
	case box.Running, box.Paused, box.Restarting:
		return true
	case box.Created:
		return l.Keeper != (box.Keeper{})
	}
	return false
}

// listed is a container, with what it was doing when it was listed.
type listed struct {
	*box.Record
	status box.Status
}

// MarshalJSON is what programs read of a container.
func (l listed) MarshalJSON() ([]byte, error) { return json.Marshal(l.fields()) }

// plainRecord is a record whose fields stand among those of a struct that it is embedded in.
type plainRecord box.Record

type boxFields struct {
	Status box.Status `json:"status"`
	*plainRecord
	Config *specs.Spec `json:"config,omitempty"`
}

func (l listed) fields() boxFields {
	return boxFields{Status: l.status, plainRecord: (*plainRecord)(l.Record)}
}

func (l listed) id(full bool) string {
	if full {
		return l.ID
	}
	return box.ShortID(l.ID)
}

// commandWidth is how much of a command is shown.
const commandWidth = 24

// imageWords are what its files are of.
func (l listed) imageWords() string {
	if l.Options.Image == "" {
		return l.Options.Rootfs
	}
	return l.Options.Image
}

func (l listed) commandWords(full bool) string {
	command := fmt.Sprintf("%q", strings.Join(l.Command, " "))
	if short := []rune(command); !full && len(short) > commandWidth {
		command = string(short[:commandWidth-2]) + `…"`
	}
	return command
}

func (l listed) words() string {
	switch l.status {
	case box.Running:
		return "Up " + ago(l.Started) + l.healthWords()
	case box.Paused:
		return "Up " + ago(l.Started) + " (Paused)"
	case box.Restarting:
		return fmt.Sprintf("Restarting (%d) %s ago", l.LastExit.Status, ago(l.LastExit.Finished))
	case box.Exited:
		return fmt.Sprintf("Exited (%d) %s ago", l.Exit.Status, ago(l.Exit.Finished))
	}
	return strings.ToUpper(string(l.status[:1])) + string(l.status[1:])
}

func (l listed) healthWords() string {
	switch {
	case l.Health == nil:
		return ""
	case l.Health.Status == box.HealthStarting:
		return " (health: starting)"
	}
	return fmt.Sprintf(" (%s)", l.Health.Status)
}

func (l listed) ports() string {
	var words []string
	if l.Network != nil {
		for _, p := range l.Network.Ports {
			words = append(words, portWords(p)...)
		}
	}
	return strings.Join(append(words, exposedWords(l.OnlyExposed())...), ", ")
}

// portWords have each address of the host's that leads to a port, as docker writes it: 0.0.0.0:8080->80/tcp.
func portWords(m port.Mapping) (words []string) {
	host, box := portRange(m.HostPort, m.Count), portRange(m.BoxPort, m.Count)
	for _, a := range m.Listens() {
		words = append(words, fmt.Sprintf("%s->%s/%s", net.JoinHostPort(a.String(), host), box, m.Protocol))
	}
	return words
}

func portRange(first, count uint16) string {
	if count <= 1 {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, first+count-1)
}

// exposedWords has a word for each run of ports, which come in their order.
func exposedWords(list []port.Exposed) []string {
	var words []string
	for _, protocol := range []port.Protocol{port.TCP, port.UDP} {
		of := slices.DeleteFunc(slices.Clone(list), func(e port.Exposed) bool { return e.Protocol != protocol })
		for len(of) > 0 {
			n := 1
			for n < len(of) && of[n].Port == of[n-1].Port+1 {
				n++
			}
			word := of[0].String()
			if n > 1 {
				word = fmt.Sprintf("%d-%s", of[0].Port, of[n-1])
			}
			words, of = append(words, word), of[n:]
		}
	}
	return words
}

// ago is a time span in its largest unit.
func ago(t time.Time) string {
	d := time.Since(t)
	for _, u := range []struct {
		name string
		unit time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		if n := int(d / u.unit); n > 1 {
			return fmt.Sprintf("%d %ss", n, u.name)
		} else if n == 1 {
			return "1 " + u.name
		}
	}
	return "a moment"
}

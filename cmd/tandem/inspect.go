package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
	"tandem/cmd/tandem/internal/format"
	"tandem/container/image"
)

func newInspectCommand() *cobra.Command {
	var asJSON bool
	var as documentsFlag
	kind := newChoice("any", kindContainer, kindImage)
	cmd := &cobra.Command{
		Use:   "inspect CONTAINER|IMAGE...",
		Short: "Print all that is known of containers, as JSON",
		Long: "Prints a list of all that is known of containers: what was asked for, what it is doing, how it ended, its\n" +
			"network, and while it runs also the engine's configuration, which is that of the OCI runtime specification.\n" +
			"What is no container may be an image.\n" +
			"A template's names are docker's, such as .State.Status, .Config.Image or .NetworkSettings.IPAddress; other than\n" +
			"docker's, .Name has no slash before it. The names of the list that is printed without one will do too.",
		Example: "  tandem inspect web\n  tandem inspect web | jq '.[0].exit.oomKilled'\n" +
			"  tandem inspect -f '{{.State.Status}} {{.State.ExitCode}}' web\n" +
			"  tandem inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' web\n" +
			"  tandem inspect -f '{{json .HostConfig}}' web",
		Args: atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			documents, err := as.parse()
			if err != nil {
				return err
			}
			list, docker := []any{}, []format.Document{}
			var errs []error
			for _, word := range args {
				d, err := inspectThing(word, kind.value)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				list, docker = append(list, d.Own), append(docker, d)
			}
			if documents == nil {
				return errors.Join(append(errs, printJSON(cmd.OutOrStdout(), list))...)
			}
			return errors.Join(append(errs, as.print(cmd.OutOrStdout(), documents, docker))...)
		},
	}
	as.register(cmd.Flags(), "f")
	cmd.Flags().Var(kind, "type", "what is meant")
	addJSONFlag(cmd, &asJSON)
	_ = cmd.Flags().MarkHidden("json") // it exists: there is no other form
	return cmd
}

const (
	kindContainer = "container"
	kindImage     = "image"
)

// inspectThing finds a container or an image. A name of both is the container's.
func inspectThing(word, kind string) (format.Document, error) {
	if kind != kindImage {
		l, f, err := inspectBox(word)
		if err == nil {
			return format.Document{Docker: l.docker(), Own: f}, nil
		}
		if kind == kindContainer || !errors.Is(err, box.ErrNotFound) {
			return format.Document{}, err
		}
	}
	s, err := image.Open("")
	if err != nil {
		return format.Document{}, err
	}
	i, err := inspectImage(s, word)
	if kind != kindImage && (errors.Is(err, image.ErrNotFound) || errors.Is(err, image.ErrReference)) {
		err = fmt.Errorf("no such container, and no such image: %s", word)
	}
	if err != nil {
		return format.Document{}, err
	}
	return format.Document{Docker: i.docker(), Own: i}, nil
}

func inspectBox(word string) (l listed, f boxFields, err error) {
	r, err := oneBox(word)
	if err != nil {
		return l, f, err
	}
	l = listed{r, r.Status()}
	f = l.fields()
	if c, err := r.Container(); err == nil { // it has not ended
		if f.Config, err = c.Config(); err != nil {
			return l, f, err
		}
	}
	return l, f, nil
}

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/format"
	"tandem/container/image"
)

// imageInspection is what inspect prints for programs.
type imageInspection struct {
	image.Image
	Config ocispec.Image `json:"config"` // as the OCI image specification has it, config.md
}

func newImageInspectCommand() *cobra.Command {
	var asJSON bool
	var as documentsFlag
	cmd := &cobra.Command{
		Use:     "inspect IMAGE...",
		Short:   "Show what an image is and what it runs",
		Example: "  tandem image inspect -f '{{.Os}}/{{.Architecture}} {{json .Config.Cmd}}' alpine\n  tandem image inspect alpine\n  tandem image inspect --json alpine | jq '.[0].config.config.Cmd'",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			documents, err := as.parse()
			if err != nil {
				return err
			}
			s, err := image.Open("")
			if err != nil {
				return err
			}
			all := []imageInspection{}
			for _, ref := range args {
				i, err := inspectImage(s, ref)
				if err != nil {
					return imageHint(err)
				}
				all = append(all, i)
			}
			if documents != nil {
				var list []format.Document
				for _, i := range all {
					list = append(list, format.Document{Docker: i.docker(), Own: i})
				}
				return as.print(cmd.OutOrStdout(), documents, list)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), all)
			}
			for n, i := range all {
				if n > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := printInspection(cmd.OutOrStdout(), i); err != nil {
					return err
				}
			}
			return nil
		},
	}
	as.register(cmd.Flags(), "f")
	addJSONFlag(cmd, &asJSON)
	cmd.MarkFlagsMutuallyExclusive("format", "json")
	return cmd
}

func inspectImage(s *image.Store, ref string) (imageInspection, error) {
	i, err := s.Resolve(ref)
	if err != nil {
		return imageInspection{}, err
	}
	config, err := s.Config(i.Digest.String())
	return imageInspection{i, config}, err
}

func printInspection(w io.Writer, i imageInspection) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				fmt.Fprintf(t, "%s\t%s\n", name, printableText(v))
				name = ""
			}
		}
	}
	c := i.Config.Config
	row("names", i.Names...)
	row("digest", i.Digest.String())
	row("id", i.ID.String())
	row("index", i.Source.String())
	row("platform", image.FormatPlatform(i.Platform))
	if i.Created != nil {
		row("created", i.Created.Local().Format(time.DateTime))
	}
	row("added", i.Added.Local().Format(time.DateTime))
	row("size", mebibytes(i.Size))
	row("author", i.Config.Author)
	row("entrypoint", quotedWords(c.Entrypoint))
	row("command", quotedWords(c.Cmd))
	row("working folder", c.WorkingDir)
	row("user", c.User)
	row("environment", c.Env...)
	row("ports", slices.Sorted(maps.Keys(c.ExposedPorts))...)
	row("volumes", slices.Sorted(maps.Keys(c.Volumes))...)
	row("stop signal", c.StopSignal)
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		row("label", key+"="+c.Labels[key])
	}
	for n, l := range i.Layers {
		about := fmt.Sprintf("%s  %s  %s", l.Digest, mebibytes(l.Size), shortCommand(l.CreatedBy))
		row(fmt.Sprintf("layer %d", n+1), about)
	}
	return t.Flush()
}

// quotedWords shows where one word of a command ends and the next begins.
func quotedWords(words []string) string {
	var all []string
	for _, w := range words {
		all = append(all, fmt.Sprintf("%q", w))
	}
	return strings.Join(all, " ")
}

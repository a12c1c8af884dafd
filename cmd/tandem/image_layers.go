package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tandem/container/image"
)

func newImageLayersCommand() *cobra.Command {
	var asJSON, changes bool
	cmd := &cobra.Command{
		Use:   "layers IMAGE",
		Short: "Show an image's layers, and what each adds, changes and removes",
		Long: "Lists the layers of an image, the bottom one first: its size as it was sent and as it is unpacked, and what\n" +
			"it does to the layers below it. With --changes each name is listed too, with the letters of docker diff: A is\n" +
			"added, C changed, D deleted. A name that is deleted takes no place less: it is there still, in a layer below,\n" +
			"and this layer has a whiteout for it.",
		Example: "  tandem image layers alpine\n  tandem image layers --changes alpine | grep '^D'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := image.Open("")
			if err != nil {
				return err
			}
			p := newImageProgress(cmd)
			defer p.line.done()
			layers, err := s.Changes(cmd.Context(), args[0], p.show)
			p.line.done()
			if err != nil {
				return imageHint(err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), layers)
			}
			return printLayers(cmd.OutOrStdout(), layers, changes)
		},
	}
	cmd.Flags().BoolVar(&changes, "changes", false, "list each name that a layer adds, changes or removes")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func printLayers(w io.Writer, layers []image.LayerChanges, changes bool) error {
	const header = "#\tLAYER\tSIZE\tUNPACKED\tADDED\tCHANGED\tDELETED\tCREATED BY\n"
	line := func(w io.Writer, n int, l image.LayerChanges) {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n",
			n+1, shortDigest(l.DiffID.Encoded()), mebibytes(l.Size), mebibytes(l.Disk), l.Added, l.Changed, l.Deleted, shortCommand(l.CreatedBy))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if !changes {
		fmt.Fprint(t, header)
	}
	for n, l := range layers {
		if !changes {
			line(t, n, l)
			continue
		}
		fmt.Fprint(t, header)
		line(t, n, l)
		if err := t.Flush(); err != nil {
			return err
		}
		for _, c := range l.Changes {
			fmt.Fprintf(w, "%s %s %s\n", c.Op, c.Kind, printableText("/"+c.Path))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for n, l := range layers {
		if l.Skipped > 0 {
			fmt.Fprintf(w, "layer %d: %d devices or attributes could not be had here, such as %s\n",
				n+1, l.Skipped, printableText(l.Examples[0]))
		}
	}
	return nil
}

// shortCommand is the beginning of a command that built a layer, on one line.
func shortCommand(s string) string {
	const width = 60
	s = printableText(strings.Join(strings.Fields(s), " "))
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}

// printableText keeps an image's words from steering the terminal.
func printableText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e' { // controls, and the one that turns text around
			return '?'
		}
		return r
	}, s)
}

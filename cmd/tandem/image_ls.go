package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/format"
	"tandem/container/image"
)

func newImageListCommand() *cobra.Command {
	var asJSON, quiet, full bool
	as := formatFlag{heading: imageHeading}
	cmd := &cobra.Command{
		Use:     "ls [flags] [NAME]",
		Aliases: []string{"list"},
		Short:   "List the images",
		Example: "  tandem image ls\n  tandem image rm $(tandem image ls -q)\n  tandem image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := as.parse()
			if err != nil {
				return err
			}
			s, err := image.Open("")
			if err != nil {
				return err
			}
			images, err := s.List()
			if len(args) > 0 {
				images = namedImages(images, args[0])
			}
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(cmd.OutOrStdout(), images)
			case quiet:
				for _, i := range images {
					fmt.Fprintln(cmd.OutOrStdout(), digestWord(i.Digest, full))
				}
				return nil
			case !list.Own():
				var rows []format.Row
				for _, i := range images {
					rows = append(rows, imageRows(i, full)...)
				}
				return list.Print(cmd.OutOrStdout(), rows)
			}
			return printImageTable(cmd.OutOrStdout(), images, full)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the digests alone")
	cmd.Flags().BoolP("all", "a", false, "")
	_ = cmd.Flags().MarkHidden("all") // it exists: there are no others
	cmd.Flags().BoolVar(&full, "no-trunc", false, "print digests and IDs in full")
	as.register(cmd.Flags(), imageFormatNames)
	addJSONFlag(cmd, &asJSON)
	cmd.MarkFlagsMutuallyExclusive("format", "json")
	return cmd
}

// namedImages are those with a name, or with any tag of one, and of their names those alone.
func namedImages(images []image.Image, name string) []image.Image {
	named := []image.Image{}
	for _, i := range images {
		i.Names = slices.DeleteFunc(slices.Clone(i.Names), func(full string) bool {
			repository, _ := splitName(full)
			return repository != name && familiarName(full) != familiarName(name)
		})
		if len(i.Names) > 0 {
			named = append(named, i)
		}
	}
	return named
}

func printImageTable(w io.Writer, images []image.Image, full bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tDIGEST\tID\tLAYERS\tSIZE\tPLATFORM\tCREATED\tADDED")
	for _, i := range images {
		names := i.Names
		if len(names) == 0 {
			names = []string{none}
		}
		for _, name := range names {
			if i.Problem != "" {
				fmt.Fprintf(t, "%s\t%s\tbroken: %s\n", familiarName(name), digestWord(i.Digest, full), i.Problem)
				continue
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n",
				familiarName(name), digestWord(i.Digest, full), digestWord(i.ID, full), len(i.Layers), mebibytes(i.Size), image.FormatPlatform(i.Platform), createdWords(i), ago(i.Added)+" ago")
		}
	}
	return t.Flush()
}

// createdWords are when an image was built. Builders of reproducible ones say 1970.
func createdWords(i image.Image) string {
	if i.Created == nil || i.Created.Unix() <= 0 {
		return "-"
	}
	return ago(*i.Created) + " ago"
}

func digestWord(d digest.Digest, full bool) string {
	if full {
		return d.String()
	}
	return shortDigest(d.Encoded())
}

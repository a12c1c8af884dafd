package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tandem/container/image"
)

func newImageListCommand() *cobra.Command {
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the images",
		Example: "  tandem image ls\n  tandem image rm $(tandem image ls -q)",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := image.Open("")
			if err != nil {
				return err
			}
			images, err := s.List()
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(cmd.OutOrStdout(), images)
			case quiet:
				for _, i := range images {
					fmt.Fprintln(cmd.OutOrStdout(), shortDigest(i.Digest.Encoded()))
				}
				return nil
			}
			return printImageTable(cmd.OutOrStdout(), images)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the digests alone")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func printImageTable(w io.Writer, images []image.Image) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tDIGEST\tID\tLAYERS\tSIZE\tPLATFORM\tCREATED\tADDED")
	for _, i := range images {
		names := i.Names
		if len(names) == 0 {
			names = []string{"<none>"}
		}
		created := "-"
		if i.Created != nil && i.Created.Unix() > 0 { // builders of reproducible images say 1970
			created = ago(*i.Created) + " ago"
		}
		for _, name := range names {
			if i.Problem != "" {
				fmt.Fprintf(t, "%s\t%s\tbroken: %s\n", familiarName(name), shortDigest(i.Digest.Encoded()), i.Problem)
				continue
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n",
				familiarName(name), shortDigest(i.Digest.Encoded()), shortDigest(i.ID.Encoded()), len(i.Layers), mebibytes(i.Size), image.FormatPlatform(i.Platform), created, ago(i.Added)+" ago")
		}
	}
	return t.Flush()
}

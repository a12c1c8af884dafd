package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"tandem/container/image"
)

func newImageTagCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "tag IMAGE NAME...",
		Short:   "Give an image more names",
		Example: "  tandem image tag 3b1f9c2a my/image:1.0 my/image:latest",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := image.Open("")
			if err != nil {
				return err
			}
			for _, name := range args[1:] {
				if err := s.Tag(args[0], name); err != nil {
					return imageHint(err)
				}
			}
			if !asJSON {
				return nil
			}
			i, err := s.Resolve(args[1])
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), i)
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func newImageRemoveCommand() *cobra.Command {
	var force, asJSON bool
	cmd := &cobra.Command{
		Use:     "rm IMAGE...",
		Aliases: []string{"remove"},
		Short:   "Remove images",
		Long: "Takes a name away from an image, and removes what no other name needs. An image that is given by its digest or\n" +
			"ID loses all of its names. One that a container uses is refused; with --force its name goes, and its layers\n" +
			"when the container does.",
		Example: "  tandem image rm alpine:3.22",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := image.Open("")
			if err != nil {
				return err
			}
			all := image.Removed{Names: []string{}, Images: []digest.Digest{}}
			var failed []error
			for _, ref := range args {
				r, err := s.Remove(ref, force)
				if err != nil {
					failed = append(failed, imageHint(err))
				}
				all.Names, all.Images = append(all.Names, r.Names...), append(all.Images, r.Images...)
				all.Bytes, all.Kept = all.Bytes+r.Bytes, r.Kept
			}
			if len(failed) < len(args) {
				failed = append(failed, printRemoved(cmd.OutOrStdout(), all, asJSON))
			}
			return errors.Join(failed...)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "also if a container uses it")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func newImagePruneCommand() *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:     "prune",
		Short:   "Remove what no image needs, and images without a name",
		Example: "  tandem image prune --all",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := image.Open("")
			if err != nil {
				return err
			}
			r, err := s.Prune(all)
			if err != nil {
				return err
			}
			return printRemoved(cmd.OutOrStdout(), r, asJSON)
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also images that no container uses")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func printRemoved(w io.Writer, r image.Removed, asJSON bool) error {
	if asJSON {
		return printJSON(w, r)
	}
	for _, name := range r.Names {
		fmt.Fprintf(w, "removed %s\n", familiarName(name))
	}
	for _, d := range r.Images {
		fmt.Fprintf(w, "removed %s\n", d)
	}
	if r.Kept {
		fmt.Fprintln(w, "another process is adding to the store: run `tandem image prune` later")
		return nil
	}
	_, err := fmt.Fprintf(w, "freed %s\n", mebibytes(r.Bytes))
	return err
}

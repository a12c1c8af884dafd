package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tandem/container/image"
)

const insecureUsage = "allow HTTP (which loopback may always speak), and HTTPS with a certificate that nobody vouches for"

func newImagePullCommand() *cobra.Command {
	var platform platformFlag
	var insecure, asJSON bool
	cmd := &cobra.Command{
		Use:   "pull NAME",
		Short: "Get an image from a registry",
		Long: "Gets an image from a registry, checks it by its digests, and unpacks its layers. What is here of it already is\n" +
			"not sent again. Where a registry wants a login, that of docker login or podman login is taken.",
		Example: "  tandem image pull alpine\n  tandem image pull ghcr.io/owner/name:tag --platform linux/arm64",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := image.Open("")
			if err != nil {
				return err
			}
			p := newImageProgress(cmd)
			defer p.line.done()
			o := image.TransferOptions{Platform: platform.value, Insecure: insecure, Progress: p.show}
			i, err := s.Pull(cmd.Context(), args[0], o)
			p.line.done()
			if err != nil {
				return err
			}
			return printImages(cmd, []image.Image{i}, asJSON)
		},
	}
	cmd.Flags().Var(&platform, "platform", "which one of an index (default: this machine's)")
	cmd.Flags().BoolVar(&insecure, "insecure", false, insecureUsage)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// pushedImage is what push prints for programs.
type pushedImage struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

func newImagePushCommand() *cobra.Command {
	var insecure, asJSON bool
	cmd := &cobra.Command{
		Use:     "push IMAGE [NAME]",
		Short:   "Send an image to a registry",
		Long:    "Sends an image to the registry in its name, or in NAME. Layers that the registry has are not sent again.",
		Example: "  tandem image push my/image registry.example.org/team/image:1.0",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := image.Open("")
			if err != nil {
				return err
			}
			target := args[len(args)-1]
			p := newImageProgress(cmd)
			defer p.line.done()
			o := image.TransferOptions{Insecure: insecure, Progress: p.show}
			d, err := s.Push(cmd.Context(), args[0], target, o)
			p.line.done()
			if err != nil {
				return imageHint(err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), pushedImage{familiarName(target), d.String()})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", d, familiarName(target))
			return err
		},
	}
	cmd.Flags().BoolVar(&insecure, "insecure", false, insecureUsage)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

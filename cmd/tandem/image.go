package main

import (
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"tandem/container/image"
)

func newImageCommand() *cobra.Command {
	group := newGroupCommand("image", "Get and keep the images that containers are made of",
		newImageImportCommand(),
		newImagePullCommand(),
		newImagePushCommand(),
		newImageListCommand(),
		newImageLayersCommand(),
		newImageInspectCommand(),
		newImageTagCommand(),
		newImageSaveCommand(),
		newImageRemoveCommand(),
		newImagePruneCommand(),
	)
	group.Long = group.Short + ".\n" +
		"They are kept in the folder images of $TANDEM_ROOT, of /var/lib/tandem for root, or of the user's data folder."
	return group
}

// platformFlag is --platform.
type platformFlag struct{ value *ocispec.Platform }

func (p *platformFlag) Set(s string) error {
	platform, err := image.ParsePlatform(s)
	if err == nil {
		p.value = &platform
	}
	return err
}

func (p *platformFlag) String() string {
	if p.value == nil {
		return ""
	}
	return image.FormatPlatform(*p.value)
}

func (*platformFlag) Type() string { return "OS/ARCH[/VARIANT]" }

// imageHint says where to look for what is not there.
func imageHint(err error) error {
	if errors.Is(err, image.ErrNotFound) && !strings.Contains(err.Error(), "registry") {
		return fmt.Errorf("%w (see `tandem image ls`)", err)
	}
	return err
}

// shortDigest is as much of a digest as people read.
func shortDigest(encoded string) string { return encoded[:min(12, len(encoded))] }

// familiarName is a name as people write it.
func familiarName(name string) string {
	r, err := image.ParseReference(name)
	if err != nil {
		return name
	}
	return r.Familiar()
}

// printImages tells what was added, the names and IDs that other commands take.
func printImages(cmd *cobra.Command, images []image.Image, asJSON bool) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), images)
	}
	for _, i := range images {
		names := i.Names
		if len(names) == 0 {
			names = []string{"<none>"}
		}
		for _, name := range names {
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", shortDigest(i.ID.Encoded()), familiarName(name))
		}
	}
	return nil
}

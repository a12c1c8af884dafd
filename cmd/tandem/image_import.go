package main

import (
	"errors"

	"github.com/spf13/cobra"

	"tandem/container/image"
)

func newImageImportCommand() *cobra.Command {
	var o image.ImportOptions
	var platform platformFlag
	var changes []string
	var asJSON, noDevices bool
	kind := newChoice("auto", string(image.DockerArchive), string(image.OCIArchive), string(image.RootFS))
	cmd := &cobra.Command{
		Use:     "import FILE|DIR|- [NAME]",
		Aliases: []string{"load"},
		Short:   "Add an image from an archive: docker save, OCI layout, or a root file system",
		Long: "Adds the images in an archive, whichever kind it is and however it is compressed (gzip, zstd, xz, bzip2,\n" +
			"lz4): what docker save and podman save write, an OCI image layout (a folder of it, too), or the tar archive\n" +
			"of a root file system, which becomes an image of one layer. An archive of images has their names in it; NAME\n" +
			"is for one that has not. The layers are checked and unpacked, so that containers start at once.",
		Example: "  docker save alpine | tandem image import -\n" +
			"  tandem image import rootfs.tar.xz my/debian:12 --change 'CMD [\"bash\"]' --change 'ENV LANG=C.UTF-8'",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				o.Name = args[1]
			}
			for _, c := range changes {
				if err := changeConfig(&o.Config, c); err != nil {
					return err
				}
			}
			o.Platform = platform.value
			if kind.value != "auto" {
				o.Kind = image.Kind(kind.value)
			}
			var options []image.Option
			if noDevices {
				options = append(options, image.WithoutDevices())
			}
			s, err := image.Open("", options...)
			if err != nil {
				return err
			}
			p := newImageProgress(cmd)
			defer p.line.done()
			o.Progress = p.show
			var images []image.Image
			if args[0] == "-" {
				if isTerminal(cmd.InOrStdin()) {
					return errors.New("standard input is a terminal: docker save IMAGE | tandem image import -")
				}
				images, err = s.Import(cmd.Context(), cmd.InOrStdin(), o)
			} else {
				images, err = s.ImportPath(cmd.Context(), args[0], o)
			}
			p.line.done()
			if err != nil {
				return err
			}
			return printImages(cmd, images, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.Var(&platform, "platform", "which of an index, or what a root file system is for (default: this machine's)")
	flags.Var(kind, "kind", "of the archive; auto is what it looks like")
	flags.StringArrayVarP(&changes, "change", "c", nil,
		"for a root file system, a Dockerfile's `INSTRUCTION`: "+changeInstructions)
	flags.BoolVar(&noDevices, "no-devices", false, "refuse layers that hold device nodes")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

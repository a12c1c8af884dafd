package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tandem/container/image"
)

// savedImages is what save prints for programs.
type savedImages struct {
	File   string   `json:"file"`
	Images []string `json:"images"`
	Bytes  int64    `json:"bytes"`
}

func newImageSaveCommand() *cobra.Command {
	var output string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "save IMAGE...",
		Short:   "Write images into an archive that docker, podman and skopeo read",
		Long:    "Writes images as one OCI archive, to a file or to standard output. The same images give the same bytes.",
		Example: "  tandem image save -o alpine.tar alpine\n  tandem image save alpine | podman load",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := image.Open("")
			if err != nil {
				return err
			}
			if output == "" || output == "-" {
				if asJSON {
					return errors.New("--json and the archive both go to standard output: name a file with --output")
				}
				if isTerminal(cmd.OutOrStdout()) {
					return errors.New("standard output is a terminal: name a file with --output, or write to a pipe")
				}
				return imageHint(s.Save(cmd.Context(), cmd.OutOrStdout(), args...))
			}
			size, err := saveFile(cmd, s, output, args)
			if err != nil {
				return imageHint(err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), savedImages{output, args, size})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s (%s)\n", output, mebibytes(size))
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to `FILE` (default: standard output)")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// saveFile writes a file that appears when it is whole.
func saveFile(cmd *cobra.Command, s *image.Store, path string, refs []string) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	p := newImageProgress(cmd)
	defer p.line.done()
	p.show("save", 0, 0)
	err = s.Save(cmd.Context(), f, refs...)
	st, e := f.Stat()
	if err = errors.Join(err, e, f.Chmod(0o644), f.Close()); err != nil {
		return 0, err
	}
	return st.Size(), os.Rename(f.Name(), path)
}

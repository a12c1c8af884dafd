package main

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"tandem/cmd/tandem/internal/format"
)

// psHeading has the names that tandem ps --format takes.
var psHeading = format.Row{
	"ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT", "RunningFor": "CREATED", "Ports": "PORTS",
	"State": "STATE", "Status": "STATUS", "Names": "NAMES", "Labels": "LABELS", "Mounts": "MOUNTS", "Networks": "NETWORKS", "Size": "SIZE",
}

const (
	psFormatNames = ".ID .Image .Command .CreatedAt .RunningFor .Ports .State .Status .Names .Labels .Label \"NAME\" .Mounts .Networks .Size"
	psTable       = `table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}`
)

func (l listed) row(full bool) format.Row {
	return format.Row{
		"ID": l.id(full), "Image": l.imageWords(), "Command": l.commandWords(full), "CreatedAt": formatTime(l.Created),
		"RunningFor": ago(l.Created) + " ago", "Ports": l.ports(), "State": string(l.status), "Status": l.words(), "Names": l.Name,
		"Labels": format.Labels(l.Options.Labels), "Mounts": l.mountWords(full), "Networks": l.Mode().String(), "Size": layerSize(l.Layer()),
	}
}

func printRows(w io.Writer, f *format.List, list []listed, full bool) error {
	rows := make([]format.Row, 0, len(list))
	for _, l := range list {
		rows = append(rows, l.row(full))
	}
	return f.Print(w, rows)
}

// layerSize is the path of a layer, printed as how much is in it: the files' lengths, each name's.
type layerSize string

func (s layerSize) String() string {
	var size int64
	err := filepath.WalkDir(string(s), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				size += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went meanwhile
		}
		return err
	})
	if err != nil {
		return "N/A"
	}
	return decimalSize(uint64(size))
}

// MarshalText has it printed so in JSON too.
func (s layerSize) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// mountWidth is how much of a mount's source is shown.
const mountWidth = 15

// mountWords are the sources of what is mounted for the container.
func (l listed) mountWords(full bool) string {
	var words []string
	for _, m := range l.Options.Mounts {
		if m.Type == "tmpfs" {
			continue // it has none
		}
		word := m.Source
		if short := []rune(word); !full && len(short) > mountWidth {
			word = string(short[:mountWidth-1]) + "…"
		}
		words = append(words, word)
	}
	return strings.Join(words, ",")
}

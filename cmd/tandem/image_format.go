package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tandem/cmd/tandem/internal/format"
	"tandem/container/image"
)

// imageHeading has the names that tandem image ls --format takes: docker's, and more.
var imageHeading = format.Row{
	"ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT",
	"Size": "SIZE", "Name": "NAME", "Layers": "LAYERS", "Platform": "PLATFORM", "AddedSince": "ADDED", "AddedAt": "ADDED AT",
}

const imageFormatNames = ".ID .Repository .Tag .Digest .CreatedSince .CreatedAt .Size; and .Name .Layers .Platform .AddedSince .AddedAt"

// none is what lists have in the place of what is not there.
const none = "<none>"

// imageRows are an image's, one for each of its names.
func imageRows(i image.Image, full bool) (rows []format.Row) {
	names := i.Names
	if len(names) == 0 {
		names = []string{none}
	}
	for _, name := range names {
		repository, tag := splitName(name)
		row := format.Row{
			"ID": none, "Repository": repository, "Tag": tag, "Digest": i.Digest.String(), "Name": familiarName(name), "Layers": fmt.Sprint(len(i.Layers)),
			"Size": mebibytes(i.Size), "Platform": image.FormatPlatform(i.Platform), "CreatedSince": createdWords(i), "CreatedAt": "N/A",
			"AddedSince": ago(i.Added) + " ago", "AddedAt": formatTime(i.Added),
		}
		if i.ID != "" { // it is not broken
			row["ID"] = digestWord(i.ID, full)
		}
		if i.Created != nil {
			row["CreatedAt"] = formatTime(*i.Created)
		}
		rows = append(rows, row)
	}
	return rows
}

// splitName gives the parts of a name as people write it.
func splitName(name string) (repository, tag string) {
	r, err := image.ParseReference(name)
	if err != nil {
		return none, none
	}
	repository, _, _ = strings.Cut(r.Familiar(), "@")
	if r.Tag == "" {
		return repository, none
	}
	return strings.TrimSuffix(repository, ":"+r.Tag), r.Tag
}

// dockerImage is what `docker image inspect` has of an image.
type dockerImage struct {
	Id                    string
	RepoTags, RepoDigests []string
	Created               string
	Author                string
	Architecture, Os      string
	Variant               string `json:",omitempty"`
	Size                  int64
	Config                ocispec.ImageConfig
	RootFS                dockerRootFS
}

type dockerRootFS struct {
	Type   string
	Layers []digest.Digest
}

func (i imageInspection) docker() dockerImage {
	d := dockerImage{
		Id: i.ID.String(), RepoTags: []string{}, RepoDigests: []string{}, Author: i.Config.Author, Architecture: i.Platform.Architecture,
		Os: i.Platform.OS, Variant: i.Platform.Variant, Size: i.Size, Config: i.Config.Config, RootFS: dockerRootFS{"layers", i.Config.RootFS.DiffIDs},
	}
	if i.Created != nil {
		d.Created = dockerTime(*i.Created)
	}
	for _, name := range i.Names {
		d.RepoTags = append(d.RepoTags, familiarName(name))
		repository, _ := splitName(name)
		if full := repository + "@" + i.Digest.String(); repository != none && !slices.Contains(d.RepoDigests, full) {
			d.RepoDigests = append(d.RepoDigests, full)
		}
	}
	return d
}

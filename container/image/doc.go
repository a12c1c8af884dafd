// Package image keeps container images by their content, and lays their layers out ready to mount.
package image

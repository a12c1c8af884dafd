// Package image keeps container images by their content, and lays their layers out ready to mount.
//
// # What an image is
//
// An image is a tree of documents that name each other by digest, the SHA-256 of their bytes. Whoever knows the digest
// at the top can check everything below it, wherever the bytes come from (OCI image specification):
//
//		alpine:3.22 ── a name, which somebody may move to another image
//		   │
//		   ▼ digest
//		index ─────────── one manifest a platform; an image for one platform alone has none
//		   │ linux/amd64
//		   ▼ digest
//		manifest ──┬───── digest ──► config: what to run, and the diff IDs of the layers
//		           │
//		           ├───── digest ──► layer blob 0 ── gunzip ──► tar archive ── sha256 ──► diff ID 0
//		           └───── digest ──► layer blob 1 ── gunzip ──► tar archive ── sha256 ──► diff ID 1
//
//	  - A blob is bytes with a digest: each box above is one.
//	  - The manifest lists the blobs of an image. Its digest is the image's digest, which registries go by.
//	  - The config says how to run the image. Its digest is the image's ID, which docker and podman show.
//	  - A layer is an archive of changes to the layers below it: new files, files that are there in another version, and
//	    whiteouts for names that are gone (package layer tells how).
//	  - A layer has two digests. That of its blob changes with the compression; its diff ID, that of the archive, does
//	    not, and so is the name of what is unpacked.
//	  - A chain ID names a layer together with all those below it. The same diff over other layers is another file
//	    system, and a few things about it, such as the mode of a folder that it does not mention, depend on them.
//
// # The store
//
// A store is a folder, and an OCI image layout to every other tool; unpacked layers and leases are beside:
//
//	images/                          mode 0700: nobody else gets at set-user-ID programs of strangers
//	  oci-layout, index.json         names and the digests of their manifests
//	  blobs/sha256/HEX               manifests, configs, layers: as they came
//	  layers/HEX/diff/               a layer's files, an overlayfs lower folder; HEX is its diff ID
//	  layers/HEX/entries, layer.json what is in it
//	  leases/OWNER.json              whose container has which layers mounted
//	  locks/, tmp/
//
// A layer is unpacked once, whatever number of images have it, and is never changed after that. [Store.Layers] gives an
// image's layers as overlayfs takes them; [Store.Acquire] adds a lease, which keeps them from being removed.
//
// # What it believes
//
// Nothing. A blob is written under no name, and gets its name if its digest and size are what was asked for. Documents
// are checked again each time they are read, layers when they are unpacked: the blob by its digest, and what comes out of
// the decompressor by the diff ID. What a document says of itself is checked against what named it; what could be read
// as two things, or names a place to fetch from, is refused. What unpacking may cost is bounded by [Limits].
//
// # Processes and crashes
//
// Any number of processes may use a store. Whoever adds shares the content lock, and whoever removes needs it alone, but
// does not wait for it: what is garbage now will be garbage later. The index is replaced by a rename, under a lock of its
// own; a layer and a blob appear by a rename too, after their bytes have reached the disk. So a process may be killed at
// any moment: what it had not finished has no name, and the next one that removes something sweeps it up.
//
// # Users
//
// Who is not root cannot give files to others. With further IDs in /etc/subuid (see subuid(5)) a helper process does
// it, as root of a user namespace; without, all files are the user's own. See UserXattr for how such layers are mounted.
package image

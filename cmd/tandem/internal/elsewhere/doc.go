// Package elsewhere plugs devices into a VM that another process serves over vhost-user: anybody's disk or file system
// (`--vhost-user`), and folders of the host that virtiofsd serves, which this package starts and ends (`--share`).
//
//	--vhost-user blk,socket=d.sock      --share /srv/www:www:ro
//	        |                                   |
//	        |                           virtiofsd, in a mount namespace of its own
//	        v                                   v
//	      d.sock                        a socket in a folder of its own
//	        |                                   |
//	        +----------> vhost/user/frontend <--+
//	                            |
//	                     a virtio device of the machine
package elsewhere

# An ext4 on a loop device, to run the same on; sourced after lib.sh.
#
#   ext4_up SIZE  makes and mounts it at $ext4_mnt (false, after `fail`, if it cannot);  ext4_down
#
# shellcheck disable=SC2034

ext4_mnt=$CFS_SCRATCH/ext4/mnt

ext4_up() {
	mkdir -p "$ext4_mnt"
	truncate -s "$1" "$CFS_SCRATCH/ext4/image"
	must mkfs.ext4 -q -F -i 4096 "$CFS_SCRATCH/ext4/image"
	[ -n "$why" ] || must mount -o loop "$CFS_SCRATCH/ext4/image" "$ext4_mnt"
	[ -z "$why" ]
}

ext4_down() {
	if grep -q " $ext4_mnt ext4 " /proc/mounts; then
		umount "$ext4_mnt" || umount -l "$ext4_mnt"
	fi
	rm -rf --one-file-system "$CFS_SCRATCH/ext4"
}
trap 'ext4_down; clean_up' EXIT

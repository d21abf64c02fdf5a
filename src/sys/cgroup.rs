//! The control groups that this process is in.

use super::tree::Tree;

/// Directories of the process's own group and of those around it that a controller (`cpu`, `memory`) governs, of
/// version 2 or 1, innermost first. Seen from a container a path may lead nowhere but to its own root.
pub fn directories(tree: &Tree, controller: &str) -> Vec<String> {
    let groups = tree.read("proc/self/cgroup").unwrap_or_default();
    let mut all = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let root = match controllers {
            "" => "sys/fs/cgroup".to_owned(),
            some if some.split(',').any(|one| one == controller) => {
                format!("sys/fs/cgroup/{controller}")
            }
            _ => continue,
        };
        let mut path = path.trim_matches('/');
        while !path.is_empty() {
            all.push(format!("{root}/{path}"));
            path = path.rsplit_once('/').map_or("", |(above, _)| above);
        }
        all.push(root);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_followed_to_its_root_under_the_controller_asked_for() {
        let dir = tempfile::tempdir().expect("temp dir");
        let tree = Tree::below(dir.path());
        assert_eq!(directories(&tree, "cpu"), Vec::<String>::new());
        let text = "9:cpu,cpuacct:/a\n5:memory:/deep/down\n1:name=systemd:/b\n0::/x.slice\n";
        tree.put("proc/self/cgroup", text, 0o644).expect("made");
        let cpu = ["sys/fs/cgroup/cpu/a", "sys/fs/cgroup/cpu"];
        let both = ["sys/fs/cgroup/x.slice", "sys/fs/cgroup"];
        assert_eq!(directories(&tree, "cpu"), [cpu, both].concat());
        let memory = ["sys/fs/cgroup/memory/deep/down", "sys/fs/cgroup/memory/deep"];
        let memory = [&memory[..], &["sys/fs/cgroup/memory"], &both].concat();
        assert_eq!(directories(&tree, "memory"), memory);
    }
}

//! Networks that are generated: real ONNX structure, random weights from fixed seeds.
//!
//! Relies on the ONNX writer of the frontend's tests. Promises: the same bytes always; weights are scaled by their
//! fan-in, so that values neither vanish nor overflow in deep networks. Batch norms are folded into the convolutions.

use crate::onnx::{File, Node, random};

/// Makes the bytes of an ONNX file.
pub type Maker = fn() -> Vec<u8>;

/// Name and maker of every network.
pub const ALL: [(&str, Maker); 6] = [
    ("resnet18", || resnet18(Resnet18 { side: 224, width: 64, classes: 1000 })),
    ("resnet18_cifar", resnet18_cifar),
    ("resnet20", || resnet_cifar(3)),
    ("resnet56", || resnet_cifar(9)),
    ("mobilenet", mobilenet),
    ("squeezenet", squeezenet),
];

/// Sizes of a ResNet-18; ImageNet's is 224, 64, 1000.
#[derive(Clone, Copy, Debug)]
pub struct Resnet18 {
    /// Rows and columns of the image.
    pub side: u32,
    /// Channels of the first stage.
    pub width: u32,
    /// Outputs.
    pub classes: u32,
}

/// ResNet-18 with an average pool (3x3, stride 2, padding 1) where the original has a max pool of the same geometry:
/// a maximum has no polynomial of one variable.
pub fn resnet18(sizes: Resnet18) -> Vec<u8> {
    let mut net = Net::new(sizes.side);
    net.conv(sizes.width, 7, 2, 1);
    net.relu();
    net.pool(3, 2, 1);
    net.stages(sizes.width);
    net.classified(sizes.classes)
}

/// ResNet-18 as it is used on images of 32 x 32: a 3x3 convolution without stride and without pooling stands first.
pub fn resnet18_cifar() -> Vec<u8> {
    let mut net = Net::new(32);
    net.conv(64, 3, 1, 1);
    net.relu();
    net.stages(64);
    net.classified(10)
}

/// The ResNets for CIFAR-10 of depth 6n + 2, with convolutions as shortcuts of the strided blocks.
pub fn resnet_cifar(blocks: u32) -> Vec<u8> {
    let mut net = Net::new(32);
    net.conv(16, 3, 1, 1);
    net.relu();
    for stage in 0..3 {
        for block in 0..blocks {
            net.block(16 << stage, if stage > 0 && block == 0 { 2 } else { 1 });
        }
    }
    net.classified(10)
}

/// Depthwise and pointwise convolutions in turn, in the manner of MobileNet, for 32 x 32.
pub fn mobilenet() -> Vec<u8> {
    let mut net = Net::new(32);
    net.conv(32, 3, 1, 1);
    net.relu();
    for (maps, stride) in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1)] {
        net.conv(net.maps, 3, stride, net.maps);
        net.relu();
        net.conv(maps, 1, 1, 1);
        net.relu();
    }
    net.classified(10)
}

/// Fire modules, in the manner of SqueezeNet, for 32 x 32.
pub fn squeezenet() -> Vec<u8> {
    let mut net = Net::new(32);
    net.conv(32, 3, 1, 1);
    net.relu();
    for (squeezed, expanded) in [(16, 32), (16, 32)] {
        net.fire(squeezed, expanded);
    }
    net.pool(3, 2, 1);
    for (squeezed, expanded) in [(32, 64), (32, 64)] {
        net.fire(squeezed, expanded);
    }
    net.pool(3, 2, 1);
    net.fire(48, 96);
    net.conv(10, 1, 1, 1);
    net.relu();
    let last = net.last.clone();
    net.node(Node::new("GlobalAveragePool", &last, "pooled"), "pooled");
    net.node(Node::new("Flatten", "pooled", "logits"), "logits");
    net.file.bytes("logits")
}

/// A network under construction: names of tensors count upwards.
struct Net {
    file: File,
    last: String,
    maps: u32,
    count: u64,
}

impl Net {
    fn new(side: u32) -> Net {
        let file = File::new(13, &[1, 3, i64::from(side), i64::from(side)]);
        Net { file, last: "x".into(), maps: 3, count: 0 }
    }

    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{}", self.count)
    }

    /// Adds a node and makes its output the last tensor.
    fn node(&mut self, node: Node, output: &str) {
        let file = std::mem::replace(&mut self.file, File::new(13, &[]));
        self.file = file.node(node.named(output));
        self.last = output.to_owned();
    }

    /// A tensor of values in ± `size`.
    fn weights(&mut self, name: &str, dims: &[i64], size: f32) {
        let count = dims.iter().product::<i64>() as usize;
        let values: Vec<f32> = random(count, self.count).iter().map(|v| 2.0 * size * v).collect();
        let file = std::mem::replace(&mut self.file, File::new(13, &[]));
        self.file = file.floats(name, dims, &values);
    }

    /// A square convolution with bias that keeps the size but for its stride.
    fn conv(&mut self, maps: u32, kernel: u32, stride: u32, groups: u32) {
        let (name, per_group) = (self.name("conv"), self.maps / groups);
        // The variance of ReLU's output is kept: 6 / fan-in is that of He's uniform weights.
        let size = (6.0 / (per_group * kernel * kernel) as f32).sqrt();
        let dims = [maps, per_group, kernel, kernel].map(i64::from);
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        self.weights(&weight, &dims, size);
        self.weights(&bias, &dims[..1], 0.1);
        let [k, s, p] = [kernel, stride, kernel / 2].map(i64::from);
        let node = Node::new("Conv", &format!("{} {weight} {bias}", self.last), &name)
            .ints("kernel_shape", &[k, k])
            .ints("strides", &[s, s])
            .ints("pads", &[p, p, p, p])
            .int("group", i64::from(groups));
        self.node(node, &name);
        self.maps = maps;
    }

    fn relu(&mut self) {
        let name = self.name("relu");
        self.node(Node::new("Relu", &self.last, &name), &name);
    }

    fn pool(&mut self, kernel: i64, stride: i64, pad: i64) {
        let name = self.name("pool");
        let node = Node::new("AveragePool", &self.last, &name)
            .ints("kernel_shape", &[kernel, kernel])
            .ints("strides", &[stride, stride])
            .ints("pads", &[pad, pad, pad, pad]);
        self.node(node, &name);
    }

    /// A basic block: two 3x3 convolutions beside the identity, or a 1x1 convolution where the shape changes.
    fn block(&mut self, maps: u32, stride: u32) {
        let (input, before) = (self.last.clone(), self.maps);
        self.conv(maps, 3, stride, 1);
        self.relu();
        self.conv(maps, 3, 1, 1);
        let main = std::mem::replace(&mut self.last, input.clone());
        if stride != 1 || before != maps {
            self.maps = before;
            self.conv(maps, 1, stride, 1);
        }
        let sum = self.name("sum");
        self.node(Node::new("Add", &format!("{main} {}", self.last), &sum), &sum);
        self.relu();
    }

    /// The four stages of a ResNet-18: two blocks each, twice the channels and half the size from one to the next.
    fn stages(&mut self, width: u32) {
        for stage in 0..4 {
            self.block(width << stage, if stage == 0 { 1 } else { 2 });
            self.block(width << stage, 1);
        }
    }

    /// A fire module: a 1x1 convolution to few channels, then 1x1 and 3x3 ones side by side.
    fn fire(&mut self, squeezed: u32, expanded: u32) {
        self.conv(squeezed, 1, 1, 1);
        self.relu();
        let input = self.last.clone();
        let sides = [1, 3].map(|kernel| {
            (self.last, self.maps) = (input.clone(), squeezed);
            self.conv(expanded, kernel, 1, 1);
            self.relu();
            self.last.clone()
        });
        let name = self.name("concat");
        self.node(Node::new("Concat", &sides.join(" "), &name).int("axis", 1), &name);
        self.maps = 2 * expanded;
    }

    /// Mean over the pixels, a dense layer, and the file.
    fn classified(mut self, classes: u32) -> Vec<u8> {
        self.node(Node::new("GlobalAveragePool", &self.last, "pooled"), "pooled");
        self.node(Node::new("Flatten", "pooled", "flat"), "flat");
        let dims = [classes, self.maps].map(i64::from);
        self.weights("fc.weight", &dims, (3.0 / self.maps as f32).sqrt());
        self.weights("fc.bias", &dims[..1], 0.1);
        self.node(Node::new("Gemm", "flat fc.weight fc.bias", "logits").int("transB", 1), "logits");
        self.file.bytes("logits")
    }
}

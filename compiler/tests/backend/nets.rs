//! Networks built by hand, with the shapes of the shipped models and deterministic weights.

use cipherloom_compiler::CompileOptions;
use cipherloom_compiler::cost::Profile;
use cipherloom_compiler::graph::{
    Density, Function, GraphInput, GraphOutput, Kind, NodeId, TensorGraph, TensorNode,
};
use cipherloom_ir::{Activation, Operator, Preprocessing, Tensor, TensorId, ViewAxis, Window, volume_of};

/// Costs in round figures, so that no snapshot changes when the default profile is measured again.
pub(crate) fn profile() -> Profile {
    Profile::read(include_str!("../profiles/round.json")).expect("the round profile is sound")
}

/// The default options with the round profile.
pub(crate) fn options() -> CompileOptions {
    CompileOptions { profile: profile().into(), ..CompileOptions::default() }
}

/// Builds a network layer by layer; the shape follows from the layers.
pub(crate) struct Net {
    graph: TensorGraph,
    last: NodeId,
    shape: Vec<u32>,
    seed: u64,
}

impl Net {
    pub(crate) fn new(name: &str, shape: &[u32]) -> Net {
        let mut graph = TensorGraph::new(name);
        let node = node(Kind::Input, "input", shape);
        let last = graph.add(node, &[]);
        let preprocessing = Preprocessing { scale: 1.0 / 255.0, mean: vec![0.0], std: vec![1.0] };
        graph.input = Some(GraphInput { node: last, preprocessing, samples: vec![] });
        Net { graph, last, shape: shape.to_vec(), seed: 1 }
    }

    fn tensor(&mut self, shape: &[u32], size: f64) -> TensorId {
        let count = shape.iter().product::<u32>();
        let values = (0..count)
            .map(|_| {
                self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (((self.seed >> 33) as f64 / (1u64 << 31) as f64 * 2.0 - 1.0) * size) as f32
            })
            .collect();
        self.graph.add_tensor(Tensor {
            name: format!("w{}", self.seed % 1000),
            shape: shape.to_vec(),
            values,
        })
    }

    fn push(mut self, kind: Kind, shape: &[u32]) -> Net {
        let name = format!("t{}", self.graph.order().count());
        self.last = self.graph.add(node(kind, &name, shape), &[self.last]);
        self.shape = shape.to_vec();
        self
    }

    /// A convolution with a kernel of one size along all axes; a signal `[channels, length]` has columns alone, a volume a depth.
    pub(crate) fn conv(mut self, maps: u32, kernel: u32, stride: u32, pad: u32) -> Net {
        let input = self.volume();
        let window = self.window([kernel, stride, pad]);
        let mut shape = vec![maps, input[0]];
        shape.extend(&window.kernel[usize::from(window.is_flat())..]);
        let fan: u32 = shape[1..].iter().product();
        let weight = self.tensor(&shape, 1.5 / f64::from(fan).sqrt());
        let bias = Some(self.tensor(&[maps], 0.3));
        let operators = vec![Operator::Convolution { input, window, groups: 1, weight }];
        self.windowed(operators, bias)
    }

    pub(crate) fn pool(self) -> Net {
        let (input, window) = (self.volume(), self.window([2, 2, 0]));
        let operators = vec![Operator::AveragePool { input, window, count_padding: false }];
        self.windowed(operators, None)
    }

    fn volume(&self) -> [u32; 4] {
        match self.shape[..] {
            [channels, length] => [channels, 1, 1, length],
            _ => volume_of(&self.shape).expect("a feature map"),
        }
    }

    /// A window of a kernel, a stride and a padding along all axes that the shape has.
    fn window(&self, [kernel, stride, pad]: [u32; 3]) -> Window {
        let mut window = Window::POINT;
        let axes = 4 - self.shape.len()..3;
        for k in if self.shape.get(1) == Some(&1) { 2..3 } else { axes } {
            (window.kernel[k], window.stride[k]) = (kernel, stride);
            (window.pad_before[k], window.pad_after[k]) = (pad, pad);
        }
        window
    }

    fn windowed(self, operators: Vec<Operator>, bias: Option<TensorId>) -> Net {
        let shape = operators[0].output_shape(&self.shape, &self.graph.tensors).expect("the window fits");
        self.push(Kind::Linear { operators, scale: 1.0, bias }, &shape)
    }

    pub(crate) fn flatten(self) -> Net {
        let elements = self.shape.iter().product();
        let axes = vec![ViewAxis { extent: elements, input_axis: Some(0), start: 0, step: 1 }];
        let operators = vec![Operator::View { input: vec![elements], axes }];
        self.push(Kind::Linear { operators, scale: 1.0, bias: None }, &[elements])
    }

    pub(crate) fn dense(mut self, rows: u32) -> Net {
        let columns = self.shape.iter().product::<u32>();
        let weight = self.tensor(&[rows, columns], 1.5 / f64::from(columns).sqrt());
        let bias = Some(self.tensor(&[rows], 0.3));
        self.push(Kind::Linear { operators: vec![Operator::Dense { weight }], scale: 1.0, bias }, &[rows])
    }

    pub(crate) fn square(self) -> Net {
        let shape = self.shape.clone();
        self.push(Kind::Elementwise(Function::Square), &shape)
    }

    pub(crate) fn relu(mut self) -> Net {
        let shape = self.shape.clone();
        let source = self.graph.node_mut(self.last);
        source.range = Some([-4.0, 4.0]);
        source.density = Some(Density { mean: 0.1, std: 1.0, histogram: Vec::new() });
        self.push(Kind::Elementwise(Function::Exact(Activation::Relu)), &shape)
    }

    /// Residual block: two 3x3 convolutions beside a strided, channel-padded shortcut.
    pub(crate) fn block(self, maps: u32, stride: u32) -> Net {
        let (shortcut, input) = (self.last, self.shape.clone());
        let mut net = self.conv(maps, 3, stride, 1).relu().conv(maps, 3, 1, 1);
        let axis = |k: usize, step: u32| ViewAxis {
            extent: net.shape[k],
            input_axis: Some(k as u32),
            start: 0,
            step: i64::from(step),
        };
        let main = net.last;
        let side = if stride == 1 {
            shortcut
        } else {
            let axes = vec![axis(0, 1), axis(1, stride), axis(2, stride)];
            let operators = vec![Operator::View { input, axes }];
            let kind = Kind::Linear { operators, scale: 1.0, bias: None };
            net.graph.add(node(kind, "shortcut", &net.shape), &[shortcut])
        };
        net.last = net.graph.add(node(Kind::Add, "sum", &net.shape), &[main, side]);
        net.relu()
    }

    /// Sum of two convolutions of one tensor.
    pub(crate) fn branches(self, maps: u32) -> Net {
        let (input, shape) = (self.last, self.shape.clone());
        let mut net = self.conv(maps, 3, 1, 1);
        let left = net.last;
        (net.last, net.shape) = (input, shape);
        let mut net = net.conv(maps, 1, 1, 0);
        let name = format!("t{}", net.last.0 + 1);
        net.last = net.graph.add(node(Kind::Add, &name, &net.shape), &[left, net.last]);
        net
    }

    /// Product of a tensor with an activation of a convolution of itself.
    pub(crate) fn gate(self) -> Net {
        let (gated, maps) = (self.last, self.shape[0]);
        let mut net = self.conv(maps, 3, 1, 1).relu();
        let gate = net.last;
        net.last = net.graph.add(node(Kind::Mul, "product", &net.shape), &[gated, gate]);
        net
    }

    pub(crate) fn done(mut self) -> TensorGraph {
        let output =
            GraphOutput { node: self.last, name: "logits".into(), labels: vec![], client_steps: vec![] };
        self.graph.node_mut(self.last).range = Some([-8.0, 8.0]);
        self.graph.outputs.push(output);
        self.graph
    }
}

fn node(kind: Kind, name: &str, shape: &[u32]) -> TensorNode {
    TensorNode { kind, name: name.into(), shape: shape.to_vec(), range: None, density: None, fitting: None }
}

/// A network by name: the shapes of the shipped models, and small ones.
pub(crate) fn named(name: &str) -> TensorGraph {
    let net = Net::new(name, &[1, 28, 28]);
    match name {
        "alternating" => {
            let net = Net::new(name, &[2, 16, 16]).conv(8, 3, 2, 1).square();
            net.conv(8, 3, 1, 1).square().conv(8, 3, 1, 1).done()
        }
        "lola" => net.conv(5, 2, 2, 0).square().flatten().dense(100).square().dense(10).done(),
        "mlp" => net.flatten().dense(128).square().dense(128).square().dense(10).done(),
        "cryptonets" => net.conv(5, 5, 2, 1).square().flatten().dense(100).square().dense(10).done(),
        "lenet" => {
            let net = net.conv(32, 5, 2, 2).square().conv(64, 5, 2, 2).square().flatten();
            net.dense(512).square().dense(10).done()
        }
        "lenet5-relu" => {
            let net = net.conv(6, 5, 1, 2).relu().pool().conv(16, 5, 1, 0).relu().pool().flatten();
            net.dense(120).relu().dense(84).relu().dense(10).done()
        }
        "tiny-square" => Net::new(name, &[1, 4, 4]).conv(2, 2, 2, 0).square().flatten().dense(3).done(),
        "tiny-relu" => Net::new(name, &[2, 6, 6]).conv(3, 3, 1, 1).relu().flatten().dense(4).done(),
        "residual" => Net::new(name, &[3, 16, 16])
            .conv(4, 3, 1, 1)
            .relu()
            .block(4, 1)
            .block(8, 2)
            .flatten()
            .dense(5)
            .done(),
        _ => panic!("no network {name}"),
    }
}

/// A smooth image in the input's range.
pub(crate) fn image(graph: &TensorGraph) -> Vec<f64> {
    let shape = &graph.node(graph.input.as_ref().expect("networks have inputs").node).shape;
    (0..shape.iter().product::<u32>()).map(|k| f64::from(k * 37 % 101) / 101.0).collect()
}

//! Small networks in the styles that exporters and model zoos have, and random ones: layers in a list, weights from a seed.
//!
//! Relies on the ONNX writer of the frontend's tests. Promises: the same bytes always; a [`Network`] prints as what it is.

use crate::onnx::{Dim, File, Node, random};

/// A layer, on an image of one to three spatial axes, channels first.
#[derive(Clone, Debug)]
pub enum Layer {
    /// Convolution with a bias that keeps the size but for its stride; kernels are odd.
    Conv {
        /// Output channels.
        maps: i64,
        /// Kernel side.
        kernel: i64,
        /// Stride.
        stride: i64,
        /// Dilation.
        dilation: i64,
        /// Groups; 0: one for each channel.
        groups: i64,
    },
    /// Transposed convolution, kernel and stride 2.
    Transposed(i64),
    /// Batch normalization.
    Norm,
    /// Activation of one input by its ONNX name; `Silu`, `Relu6` and `Square` as exporters spell them.
    Act(&'static str),
    /// Average over windows of this side, which is the stride too.
    AveragePool(i64),
    /// Maximum over such windows.
    MaxPool(i64),
    /// Every pixel twice along each spatial axis.
    Upsample,
    /// Mean over all pixels.
    GlobalPool,
    /// Everything to a vector of so many.
    Dense(i64),
    /// The input added to what the layers make of it.
    Residual(Vec<Layer>),
    /// What each list makes of the input, concatenated along the channels.
    Branches(Vec<Vec<Layer>>),
    /// Squeeze-and-excite with so many squeezed channels.
    Excite(i64),
}

use Layer::{
    Act, AveragePool, Branches, Conv, Dense, Excite, GlobalPool, MaxPool, Norm, Residual, Transposed,
    Upsample,
};

/// Layers over an input.
#[derive(Clone, Debug)]
pub struct Network {
    /// Name.
    pub name: String,
    /// Channels and spatial sizes.
    pub input: Vec<i64>,
    /// Whether the file's images have their channels last and an open batch, as TensorFlow's do.
    pub channels_last: bool,
    /// First applied first.
    pub layers: Vec<Layer>,
}

/// A plain convolution.
pub fn conv(maps: i64, kernel: i64) -> Layer {
    Conv { maps, kernel, stride: 1, dilation: 1, groups: 1 }
}

fn strided(maps: i64, kernel: i64) -> Layer {
    Conv { maps, kernel, stride: 2, dilation: 1, groups: 1 }
}

fn dilated(maps: i64, dilation: i64) -> Layer {
    Conv { maps, kernel: 3, stride: 1, dilation, groups: 1 }
}

fn grouped(maps: i64, groups: i64) -> Layer {
    Conv { maps, kernel: 3, stride: 1, dilation: 1, groups }
}

/// Networks over recordings of the sizes that clinics have: twelve leads of an electrocardiogram, ten seconds at 100 Hz, and a
/// volume of 28 voxels a side.
pub fn recordings() -> Vec<Network> {
    let net = |name: &str, input: &[i64], mut layers: Vec<Layer>, classes: i64| {
        layers.extend([GlobalPool, Dense(classes)]);
        Network { name: name.into(), input: input.to_vec(), channels_last: false, layers }
    };
    let square = Act("Square");
    let signal = [strided(16, 7), strided(32, 5), strided(32, 5)];
    let volume = [strided(8, 3), strided(16, 3)];
    let squared = |convolutions: &[Layer]| -> Vec<Layer> {
        convolutions.iter().flat_map(|layer| [layer.clone(), square.clone()]).collect()
    };
    vec![net("ecg", &[12, 1000], squared(&signal), 5), net("volume", &[1, 28, 28, 28], squared(&volume), 11)]
}

/// Twenty styles of networks.
pub fn all() -> Vec<Network> {
    let net = |name: &str, input: &[i64], layers: Vec<Layer>| Network {
        name: name.into(),
        input: input.to_vec(),
        channels_last: false,
        layers,
    };
    let last = |name: &str, input: &[i64], layers: Vec<Layer>| Network {
        channels_last: true,
        ..net(name, input, layers)
    };
    let (image, colour, line) = ([1, 8, 8], [3, 8, 8], [2, 32]);
    vec![
        net(
            "plain",
            &image,
            vec![conv(4, 3), Act("Relu"), AveragePool(2), conv(6, 3), Act("Relu"), Dense(5)],
        ),
        net("strided", &colour, vec![strided(4, 3), Act("Relu"), strided(8, 3), Act("Relu"), Dense(4)]),
        net(
            "depthwise",
            &colour,
            vec![
                conv(8, 3),
                Act("HardSwish"),
                grouped(8, 0),
                conv(12, 1),
                Act("HardSwish"),
                GlobalPool,
                Dense(4),
            ],
        ),
        net("dilated", &image, vec![dilated(4, 1), Act("Elu"), dilated(4, 2), Act("Elu"), Dense(3)]),
        net(
            "grouped",
            &[4, 8, 8],
            vec![grouped(8, 2), Norm, Act("Relu"), grouped(8, 4), GlobalPool, Dense(4)],
        ),
        net(
            "residual",
            &colour,
            vec![
                conv(4, 3),
                Residual(vec![conv(4, 3), Act("Relu"), conv(4, 3)]),
                Act("Relu"),
                GlobalPool,
                Dense(4),
            ],
        ),
        net(
            "densely-connected",
            &image,
            vec![
                conv(3, 3),
                Act("Relu"),
                Branches(vec![vec![], vec![conv(3, 3)]]),
                Branches(vec![vec![], vec![conv(3, 3)]]),
                AveragePool(2),
                Dense(4),
            ],
        ),
        net(
            "inception",
            &colour,
            vec![
                Branches(vec![vec![conv(2, 1)], vec![conv(2, 1), conv(3, 3)], vec![conv(2, 5)]]),
                Act("Relu"),
                AveragePool(2),
                Dense(4),
            ],
        ),
        net(
            "time-series",
            &line,
            vec![conv(4, 5), Act("Relu"), AveragePool(2), conv(6, 3), Act("Relu"), GlobalPool, Dense(3)],
        ),
        net(
            "temporal",
            &line,
            vec![
                Residual(vec![dilated(2, 2), Act("Tanh")]),
                Residual(vec![dilated(2, 4)]),
                GlobalPool,
                Dense(3),
            ],
        ),
        last("channels-last", &colour, vec![conv(4, 3), Act("Relu"), AveragePool(2), Dense(5)]),
        last("channels-last-strided", &colour, vec![strided(6, 3), Norm, Act("Silu"), conv(6, 3), Dense(4)]),
        net("squeeze-and-excite", &colour, vec![conv(4, 3), Excite(2), GlobalPool, Dense(4)]),
        net("autoencoder", &image, vec![strided(4, 3), Act("Relu"), Transposed(1)]),
        net("upsampling", &image, vec![strided(3, 3), Act("Relu"), Upsample, conv(1, 3)]),
        net("unfolded-norms", &colour, vec![Norm, conv(4, 3), Norm, Act("Square"), Norm, Dense(4)]),
        net("max-pooling", &image, vec![conv(2, 3), MaxPool(2), Act("LeakyRelu"), Dense(3)]),
        net("silu", &colour, vec![conv(6, 3), Act("Silu"), conv(6, 3), Act("Silu"), GlobalPool, Dense(4)]),
        net(
            "tanh-lenet",
            &[1, 12, 12],
            vec![conv(4, 5), Act("Tanh"), AveragePool(2), conv(8, 5), Act("Tanh"), AveragePool(2), Dense(10)],
        ),
        net(
            "clipped-gates",
            &colour,
            vec![
                conv(4, 3),
                Act("Relu6"),
                conv(4, 1),
                Act("Sigmoid"),
                GlobalPool,
                Dense(16),
                Act("Softplus"),
                Dense(3),
            ],
        ),
    ]
}

impl Network {
    /// The ONNX file, operator set 17.
    pub fn bytes(&self) -> Vec<u8> {
        let mut dims = [&[1], &self.input[..]].concat();
        if self.channels_last {
            let channels = dims.remove(1);
            dims.push(channels);
        }
        let mut file = File::new(17, &dims);
        if self.channels_last {
            // TensorFlow's exporters leave the batch open, too.
            file.dims[0] = Dim::Symbol("N");
        }
        let mut writer = Writer {
            file: Some(file),
            last: "x".into(),
            shape: self.input.clone(),
            count: 0,
            channels_last: self.channels_last,
        };
        if self.channels_last {
            writer.transposed(&[0, 3, 1, 2]);
        }
        self.layers.iter().for_each(|layer| writer.layer(layer));
        let last = writer.last.clone();
        writer.file.as_ref().map(|f| f.bytes(&last)).unwrap_or_default()
    }
}

struct Writer {
    file: Option<File>,
    last: String,
    /// Channels and spatial sizes of the last tensor.
    shape: Vec<i64>,
    count: u64,
    channels_last: bool,
}

impl Writer {
    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{}", self.count)
    }

    /// Adds `op` of the last tensor and other inputs; its output becomes the last tensor.
    fn node(&mut self, op: &str, others: &str, with: impl FnOnce(Node) -> Node) {
        let name = self.name(&op.to_lowercase());
        let node = with(Node::new(op, &format!("{} {others}", self.last), &name)).named(&name);
        self.file = self.file.take().map(|f| f.node(node));
        self.last = name;
    }

    /// Weights in ± `size` around `centre`.
    fn weights(&mut self, dims: &[i64], size: f32, centre: f32) -> String {
        let name = self.name("w");
        let count = dims.iter().product::<i64>() as usize;
        let values: Vec<f32> = random(count, self.count).iter().map(|v| centre + 2.0 * size * v).collect();
        self.file = self.file.take().map(|f| f.floats(&name, dims, &values));
        name
    }

    fn transposed(&mut self, perm: &[i64]) {
        self.node("Transpose", "", |n| n.ints("perm", perm));
    }

    fn layer(&mut self, layer: &Layer) {
        let spatial = self.shape.len() - 1;
        let each = |value: i64| vec![value; spatial];
        match layer {
            Conv { maps, kernel, stride, dilation, groups } => {
                let groups = if *groups == 0 { self.shape[0] } else { *groups };
                let own = self.shape[0] / groups;
                let mut dims = vec![*maps, own];
                dims.extend(each(*kernel));
                let fan = (own * kernel.pow(spatial as u32)) as f32;
                let (w, b) = (self.weights(&dims, (3.0 / fan).sqrt(), 0.0), self.weights(&[*maps], 0.2, 0.0));
                let pad = dilation * (kernel - 1) / 2;
                self.node("Conv", &format!("{w} {b}"), |n| {
                    n.ints("kernel_shape", &each(*kernel))
                        .ints("strides", &each(*stride))
                        .ints("dilations", &each(*dilation))
                        .ints("pads", &vec![pad; 2 * spatial])
                        .int("group", groups)
                });
                self.shape[0] = *maps;
                self.shape[1..].iter_mut().for_each(|s| *s = (*s - 1) / stride + 1);
            }
            Transposed(maps) => {
                let mut dims = vec![self.shape[0], *maps];
                dims.extend(each(2));
                let w = self.weights(&dims, (3.0 / self.shape[0] as f32).sqrt(), 0.0);
                self.node("ConvTranspose", &w, |n| n.ints("strides", &each(2)));
                self.shape[0] = *maps;
                self.shape[1..].iter_mut().for_each(|s| *s *= 2);
            }
            Norm => {
                let c = [self.shape[0]];
                let list = [(0.2, 1.0), (0.2, 0.0), (0.2, 0.0), (0.3, 1.0)]
                    .map(|(size, centre)| self.weights(&c, size, centre));
                self.node("BatchNormalization", &list.join(" "), |n| n);
            }
            Act("Silu") => {
                let x = self.last.clone();
                self.node("Sigmoid", "", |n| n);
                self.node("Mul", &x, |n| n);
            }
            Act("Square") => {
                let x = self.last.clone();
                self.node("Mul", &x, |n| n);
            }
            Act("Relu6") => {
                let (low, high) = (self.weights(&[], 0.0, 0.0), self.weights(&[], 0.0, 6.0));
                self.node("Clip", &format!("{low} {high}"), |n| n);
            }
            Act(op) => self.node(op, "", |n| n),
            AveragePool(k) | MaxPool(k) => {
                let op = if matches!(layer, AveragePool(_)) { "AveragePool" } else { "MaxPool" };
                self.node(op, "", |n| n.ints("kernel_shape", &each(*k)).ints("strides", &each(*k)));
                self.shape[1..].iter_mut().for_each(|s| *s /= k);
            }
            Upsample => {
                let scales = self.name("scales");
                let values: Vec<f32> = [1.0, 1.0].into_iter().chain(vec![2.0; spatial]).collect();
                self.file = self.file.take().map(|f| f.floats(&scales, &[values.len() as i64], &values));
                let region = self.name("region");
                self.file = self.file.take().map(|f| f.floats(&region, &[0], &[]));
                self.node("Resize", &format!("{region} {scales}"), |n| {
                    n.text("mode", "nearest")
                        .text("coordinate_transformation_mode", "asymmetric")
                        .text("nearest_mode", "floor")
                });
                self.shape[1..].iter_mut().for_each(|s| *s *= 2);
            }
            GlobalPool => {
                self.node("GlobalAveragePool", "", |n| n);
                self.shape[1..].fill(1);
            }
            Dense(outputs) => {
                if self.channels_last && self.shape.len() == 3 {
                    self.transposed(&[0, 2, 3, 1]);
                }
                let inputs = self.shape.iter().product::<i64>();
                self.node("Flatten", "", |n| n);
                let w = self.weights(&[*outputs, inputs], (3.0 / inputs as f32).sqrt(), 0.0);
                let b = self.weights(&[*outputs], 0.2, 0.0);
                self.node("Gemm", &format!("{w} {b}"), |n| n.int("transB", 1));
                self.shape = vec![*outputs];
            }
            Residual(layers) => {
                let x = self.last.clone();
                layers.iter().for_each(|layer| self.layer(layer));
                self.node("Add", &x, |n| n);
            }
            Branches(lists) => {
                let (x, shape) = (self.last.clone(), self.shape.clone());
                let mut ends = Vec::new();
                let mut channels = 0;
                for layers in lists {
                    (self.last, self.shape) = (x.clone(), shape.clone());
                    layers.iter().for_each(|layer| self.layer(layer));
                    ends.push(self.last.clone());
                    channels += self.shape[0];
                }
                self.last = ends.remove(0);
                self.node("Concat", &ends.join(" "), |n| n.int("axis", 1));
                self.shape[0] = channels;
            }
            Excite(squeezed) => {
                let (x, shape) = (self.last.clone(), self.shape.clone());
                for layer in [GlobalPool, conv(*squeezed, 1), Act("Relu"), conv(shape[0], 1), Act("Sigmoid")]
                {
                    self.layer(&layer);
                }
                self.node("Mul", &x, |n| n);
                self.shape = shape;
            }
        }
    }
}

"""Transfer learning on encrypted images: a network trained on digits yields features of clothes, which only the client reads.

    pip install numpy onnx onnxruntime
    python transfer.py --cipherloom ../../target/release/cipherloom --model ../../models/cryptonets.onnx --data FASHION-MNIST

The model is cut at a tensor. The server evaluates the body on ciphertexts, eight images at a time; the client decrypts the features, trains a
linear head for the new classes, and compares with a head trained on the features in the clear. DATA holds the test set's two files
(t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz).
"""

import argparse
import gzip
import json
import pathlib
import subprocess
import tempfile

import numpy

BATCH = 8


def idx(path: pathlib.Path, skip: int) -> numpy.ndarray:
    return numpy.frombuffer(gzip.open(path).read()[skip:], dtype=numpy.uint8)


def clear_features(model: str, tensor: str, images: numpy.ndarray) -> numpy.ndarray:
    """What the body makes of the images in the clear."""
    import onnx
    import onnxruntime

    whole = onnx.load(model)
    whole.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    one = lambda image: session.run([tensor], {name: image[None, None].astype(numpy.float32) / 255})[0].ravel()
    return numpy.stack([one(image) for image in images])


def encrypted_features(cipherloom: str, model: str, tensor: str, images: numpy.ndarray) -> numpy.ndarray:
    """The same by ciphertexts: everything but `run` is the client's."""
    with tempfile.TemporaryDirectory() as folder:

        def command(*words: str) -> dict:
            out = subprocess.run([cipherloom, "--json", *words], cwd=folder, capture_output=True, text=True, check=True)
            return json.loads(out.stdout)

        numpy.save(pathlib.Path(folder) / "images.npy", images)
        command("compile", model, "--output", tensor, "--batch", str(BATCH), "--precision", "12", "-o", "body.loom")
        command("keygen", "body.manifest")
        features = []
        for index in range(0, len(images), BATCH):
            command("encrypt", "body.manifest", "images.npy", "--index", str(index), "-o", "in.ct")
            command("run", "body.loom", "--keys", "eval.keys", "in.ct", "-o", "out.ct")
            answers = command("decrypt", "body.manifest", "out.ct")["images"]
            features += [answer["scores"] for answer in answers[: len(images) - index]]
        return numpy.array(features)


def head(features: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """Ridge regression on one-hot classes: weights with a row for the bias."""
    x = numpy.hstack([features, numpy.ones((len(features), 1))])
    y = numpy.eye(10)[labels]
    return numpy.linalg.solve(x.T @ x + 0.1 * len(x) * numpy.eye(x.shape[1]) * x.var(), x.T @ y)


def accuracy(weights: numpy.ndarray, features: numpy.ndarray, labels: numpy.ndarray) -> float:
    x = numpy.hstack([features, numpy.ones((len(features), 1))])
    return 100 * float(((x @ weights).argmax(1) == labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cipherloom", default="cipherloom")
    parser.add_argument("--model", default="cryptonets.onnx")
    parser.add_argument("--tensor", default="bn2")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--train", type=int, default=800)
    parser.add_argument("--test", type=int, default=400)
    arguments = parser.parse_args()
    model = str(pathlib.Path(arguments.model).resolve())
    cipherloom = str(pathlib.Path(arguments.cipherloom).resolve())
    count = arguments.train + arguments.test
    images = idx(arguments.data / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)[:count]
    labels = idx(arguments.data / "t10k-labels-idx1-ubyte.gz", 8)[:count].astype(int)
    train, test = slice(0, arguments.train), slice(arguments.train, count)

    clear = clear_features(model, arguments.tensor, images)
    encrypted = encrypted_features(cipherloom, model, arguments.tensor, images)
    error = numpy.abs(clear - encrypted).max() / numpy.abs(clear).max()
    row = {
        "features": clear.shape[1],
        "largest_error": round(float(error), 6),
        "transfer_accuracy_clear": accuracy(head(clear[train], labels[train]), clear[test], labels[test]),
        "transfer_accuracy_encrypted": accuracy(head(encrypted[train], labels[train]), encrypted[test], labels[test]),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()

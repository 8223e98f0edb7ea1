//! The client's files: round trips, and files that are damaged or belong elsewhere.

use crate::circuit::{answer, client, manifest};
use cipherloom_ckks::wire::{
    read_ciphertext, read_evaluation_key, seeded_ciphertext_bytes, write_ciphertext,
};
use cipherloom_ckks::{Context, Limbs};
use cipherloom_client::{Client, ClientError, EncryptedOutput};
use cipherloom_ir::Digest;
use cipherloom_ir::container::{ContainerError, ContainerReader, ContainerWriter, Kind};
use std::io::Cursor;

/// What a server writes.
fn output_file(context: &Context, output: &EncryptedOutput) -> Vec<u8> {
    let count = output.ciphertexts.len() as u32;
    let kind = Kind::EncryptedOutput;
    let mut file = ContainerWriter::new(Cursor::new(vec![]), kind, Some(output.circuit), count).unwrap();
    for (tag, ciphertext) in output.ciphertexts.iter().enumerate() {
        let mut payload = vec![];
        write_ciphertext(context, ciphertext, &mut payload).unwrap();
        file.write_section(tag as u32, &payload).unwrap();
    }
    file.finish().unwrap().into_inner()
}

fn written(write: impl FnOnce(&mut Cursor<Vec<u8>>) -> Result<(), ClientError>) -> Vec<u8> {
    let mut file = Cursor::new(vec![]);
    write(&mut file).unwrap();
    file.into_inner()
}

/// The identity through files alone.
#[test]
fn files_carry_everything() {
    let client = client(manifest(10));
    let secret = client.generate_secret().unwrap();
    let key_file = written(|file| client.write_secret_key(&secret, file));
    let mut told = Vec::new();
    let evaluation_file =
        written(|file| client.write_evaluation_keys(&secret, file, |bytes| told.push(bytes)));
    assert_eq!((told.len(), told.last()), (client.key_shapes().len(), Some(&client.evaluation_key_bytes())));
    assert!(told.is_sorted());
    let input = client.encrypt_raw(&secret, &[&[17.0; 12]]).unwrap();
    let input_file = written(|file| client.write_input(&input, file));
    assert!(evaluation_file.len() as u64 - client.evaluation_key_bytes() < 512);
    let payloads = seeded_ciphertext_bytes(client.context(), Limbs(client.context().chain().len()));
    assert!(input_file.len() - payloads < 256);

    let context = client.context();
    let mut keys = ContainerReader::open(Cursor::new(evaluation_file), Kind::EvaluationKeys).unwrap();
    for (index, shape) in client.key_shapes().iter().enumerate() {
        let payload = keys.read_section(index, u64::MAX).unwrap();
        assert_eq!(read_evaluation_key(context, &mut payload.as_slice()).unwrap().shape(), shape);
    }
    let mut sent = ContainerReader::open(Cursor::new(input_file), Kind::EncryptedInput).unwrap();
    let payload = sent.read_section(0, u64::MAX).unwrap();
    let received = read_ciphertext(context, &mut payload.as_slice()).unwrap();
    assert_eq!(std::slice::from_ref(&received), input.expand(context).unwrap());

    let output = EncryptedOutput { circuit: input.circuit, ciphertexts: vec![received] };
    let back = client.read_output(Cursor::new(output_file(context, &output))).unwrap();
    let read = client.read_secret_key(Cursor::new(key_file)).unwrap();
    let scores = client.decrypt(&read, &back).unwrap();
    assert!((scores[0].values[0] - 2.0 * (17.0 / 255.0 - 0.5) / 0.5).abs() < 1e-4);
}

/// Files, each with a reader that keeps nothing.
type Check = fn(&Client, &[u8]) -> Result<(), ClientError>;

fn files(client: &Client) -> [(Vec<u8>, Check); 2] {
    let secret = client.generate_secret().unwrap();
    let key = written(|file| client.write_secret_key(&secret, file));
    let input = client.encrypt_raw(&secret, &[&[17.0; 12]]).unwrap();
    let output = output_file(client.context(), &answer(client, &input));
    let read_key: Check = |client, bytes| client.read_secret_key(Cursor::new(bytes)).map(|_| ());
    let read_output: Check = |client, bytes| client.read_output(Cursor::new(bytes)).map(|_| ());
    [(key, read_key), (output, read_output)]
}

#[test]
fn every_truncation_and_flip_is_refused() {
    let client = client(manifest(7));
    for (bytes, check) in files(&client) {
        check(&client, &bytes).unwrap();
        for length in 0..bytes.len() {
            assert!(matches!(check(&client, &bytes[..length]), Err(ClientError::File(_))), "cut at {length}");
        }
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(check(&client, &flipped), Err(ClientError::File(_))), "bit {bit}");
        }
    }
}

#[test]
fn foreign_files_are_refused() {
    let [small, large] = [10, 11].map(|log_n| client(manifest(log_n)));
    let mut renamed = manifest(10);
    renamed.circuit = Digest::of(b"another");
    let other = client(renamed);
    let [(key, read_key), (output, read_output)] = files(&small);
    for (check, bytes) in [(read_key, &key), (read_output, &output)] {
        let refused = check(&other, bytes).unwrap_err();
        assert!(matches!(refused, ClientError::File(ContainerError::Foreign { .. })), "{refused}");
        assert!(check(&large, bytes).is_err(), "files of a smaller ring");
    }
    let swapped = read_key(&small, &output).unwrap_err();
    assert!(matches!(swapped, ClientError::File(ContainerError::Kind { .. })), "{swapped}");
    let [(key, _), (output, _)] = files(&large);
    assert!(read_key(&small, &key).is_err() && read_output(&small, &output).is_err());
}

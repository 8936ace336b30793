//! Where tensors live: a GPU through wgpu, or the CPU.

use burn::tensor::Device;
use serde::Serialize;

use crate::error::{Error, Result};

/// What `--device` accepts.
pub const CHOICES: [&str; 7] = ["auto", "cpu", "wgpu", "vulkan", "metal", "webgpu", "cuda"];

/// A device, what it is called, and why it was taken.
#[derive(Debug, Clone, Serialize)]
pub struct Picked {
    #[serde(skip)]
    pub device: Device,
    /// `cpu`, or the name of the interface to the GPU.
    pub kind: String,
    /// The adapter, as its driver calls it.
    pub name: String,
    /// Why this one, in plain words.
    pub reason: String,
}

/// Is this the CPU backend, also under autodiff?
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex() || *device == Device::flex().autodiff()
}

/// The CPU, which is always there.
pub fn cpu(reason: &str) -> Picked {
    Picked { device: Device::flex(), kind: "cpu".into(), name: "CPU".into(), reason: reason.into() }
}

/// The browser's GPU. The worker has looked at the adapter before it asks for this.
///
/// # Errors
/// The browser gives no device.
#[cfg(target_family = "wasm")]
pub async fn webgpu() -> Result<Picked> {
    // More work in one submission: each one costs a call from wasm into the browser.
    let options = Device::wgpu_options().tasks_max(64);
    let device = options.init_async().await.map_err(|e| {
        Error::new("WebGPU", format!("the browser gave no device ({e})"))
            .fix("Choose the CPU, or update the browser and the graphics driver.")
    })?;
    let (kind, name) = ("webgpu".to_string(), "WebGPU".to_string());
    Ok(Picked { device, kind, name, reason: "the browser offers WebGPU".into() })
}

/// Follows `--device`. `auto` takes a real GPU where there is one, never a software renderer.
///
/// # Errors
/// The device asked for is not there, or this build lacks the feature for it.
#[cfg(not(target_family = "wasm"))]
pub fn pick(choice: &str) -> Result<Picked> {
    pick_nth(choice, None)
}

/// The same, with the GPU of that number where there are several; a machine that has fewer shares
/// them.
///
/// # Errors
/// As [`pick`].
#[cfg(not(target_family = "wasm"))]
pub fn pick_nth(choice: &str, gpu: Option<usize>) -> Result<Picked> {
    match choice {
        "cpu" => Ok(cpu("as asked")),
        "auto" => Ok(match native_gpu(None, gpu) {
            Ok((picked, false)) => picked,
            Ok((picked, true)) => {
                cpu(&format!("the only GPU here is a software renderer ({})", picked.name))
            }
            Err(error) => cpu(&format!("no usable GPU ({})", error.problem)),
        }),
        "wgpu" => native_gpu(None, gpu).map(|(picked, _)| picked),
        "vulkan" | "metal" | "webgpu" | "cuda" => named_gpu(choice, gpu),
        other => Err(Error::new("--device", format!("{other:?} is not known"))
            .fix(format!("It is one of {}.", CHOICES.join(", ")))),
    }
}

/// A GPU through one named interface, where this build has it.
#[cfg(not(target_family = "wasm"))]
fn named_gpu(choice: &str, gpu: Option<usize>) -> Result<Picked> {
    use burn::tensor::wgpu::WgpuBackend;
    match choice {
        #[cfg(feature = "vulkan")]
        "vulkan" => native_gpu(Some(WgpuBackend::Vulkan), gpu).map(|(picked, _)| picked),
        #[cfg(feature = "metal")]
        "metal" => native_gpu(Some(WgpuBackend::Metal), gpu).map(|(picked, _)| picked),
        #[cfg(feature = "cuda")]
        "cuda" => {
            let count = Device::enumerate(burn::tensor::DeviceType::Cuda).len();
            let number = gpu.unwrap_or(0) % count.max(1);
            Ok(Picked {
                device: Device::cuda(number),
                kind: "cuda".into(),
                name: format!("CUDA device {number}"),
                reason: "as asked".into(),
            })
        }
        "webgpu" => native_gpu(Some(WgpuBackend::WebGpu), gpu).map(|(picked, _)| picked),
        other => Err(Error::new("--device", format!("this build has no {other}"))
            .fix(format!("Build it in with `./build.sh native --features {other}`, or use wgpu."))),
    }
}

/// Opens a GPU, the one of that number or else the best; the flag says whether it is a software
/// renderer.
#[cfg(not(target_family = "wasm"))]
fn native_gpu(
    api: Option<burn::tensor::wgpu::WgpuBackend>,
    gpu: Option<usize>,
) -> Result<(Picked, bool)> {
    use burn::tensor::DeviceKind;
    use burn::tensor::wgpu::WgpuInitError;

    let options = || match api {
        Some(api) => Device::wgpu_options().graphics_api(api),
        None => Device::wgpu_options(),
    };
    let own = gpu.map(|n| options().device_kind(DeviceKind::DiscreteGpu(n)).init_with_setup());
    let (opened, of_its_own) = match own {
        None | Some(Err(WgpuInitError::AdapterUnavailable { .. })) => {
            (options().init_with_setup(), false)
        }
        Some(opened) => (opened, true),
    };
    let (device, setup) = opened.map_err(|e| {
        Error::new("GPU", e).fix("Install a Vulkan, Metal or DX12 driver, or use --device cpu.")
    })?;
    let info = setup.adapter.get_info();
    let software = format!("{:?}", info.device_type) == "Cpu";
    let reason = match (software, gpu) {
        (true, _) => "a software renderer, as asked".to_string(),
        (_, Some(n)) if of_its_own => format!("number {n} of this machine"),
        (_, Some(n)) => format!("this machine has no number {n}, so ranks share it"),
        _ => "a GPU is there".to_string(),
    };
    let kind = format!("{:?}", info.backend).to_lowercase();
    Ok((Picked { device, kind, name: info.name.clone(), reason }, software))
}

from ipykernel.kernelapp import IPKernelApp

from .kernel import TinyTorchKernel

IPKernelApp.launch_instance(kernel_class=TinyTorchKernel)
